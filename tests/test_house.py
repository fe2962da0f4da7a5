"""``make house`` counts what it says, and no modules of ours import each other in a circle."""

from pathlib import Path

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.house import House, figures, journey

SMALL = {
    "__init__.py": "",
    "loop/__init__.py": "",
    "loop/a.py": "from made.loop import b\n",
    "loop/b.py": "def late():\n    from made.loop import c\n\nfrom made.loop.c import C\n",
    "loop/c.py": "import made.loop.a\n\nclass C:\n    def __init__(self, one, *, two):\n        pass\n",
    "typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made import user\n",
    "user.py": "from made import typed\n" + "x = 1\n" * 100,
    "simulator/left_out.py": "x = 1\n",
}


@pytest.fixture
def made(tmp_path: Path) -> House:
    for name, text in SMALL.items():
        path = tmp_path / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return House(tmp_path / "made")


def test_modules_that_import_each_other_in_a_circle_are_found(made: House) -> None:
    assert made.cycles() == ["made.loop.a - made.loop.b - made.loop.c"]


def test_small_modules_wide_constructors_and_flat_packages_are_counted(made: House) -> None:
    assert made.constructors() == {"made.loop.c.C": 2}
    assert made.flat_modules() == {"made.loop": 3, "made": 2}
    # ``user`` is small in importers, but not in lines; an import for types alone is none of the product's work.
    assert set(made.small_modules()) == {"made.loop.a", "made.loop.b", "made.loop.c", "made.typed"}


def test_our_own_modules_import_each_other_in_no_circle() -> None:
    assert House().cycles() == []


def test_the_way_of_a_streamed_answer_is_counted_once_it_is_warm(sim: SimulatorClient, tmp_path: Path) -> None:
    way = journey(sim, tmp_path)
    assert way.modules[str(Path(__file__).parent.parent / "codexproxy/server/turn_view.py")] == 1
    assert sim.counters()["refreshes"] == 0
    rows = {figure.name: figure.value for figure in figures(House(), way)}
    assert rows["modules that a chat stream of five deltas passes"] == len(way.modules)
    assert rows["calls of own functions by that stream"] == sum(way.modules.values()) > len(way.modules)
