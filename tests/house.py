"""Measures the structure of the code: ``make house``, or ``python -m tests.house``.

Prints one row per figure, with its goal: how many files and lines there are, how many small modules serve one
importer, how far one streamed answer travels through the code, how flat packages and how wide constructors are,
and whether modules import each other in a circle. The simulator is left out, since it is a test double.
"""

import ast
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any

from codexproxy.app import create_app
from codexproxy.settings import load_settings
from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from codexproxy.simulator.recipes import say
from tests.service import Service

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "codexproxy"
# Modules below this many lines that serve one importer should be a part of it.
SMALL_MODULE = 70
WARM_UP_TURNS = 3
DELTAS = ("One ", "two ", "three ", "four ", "five.")


@dataclass(frozen=True)
class Figure:
    """One row of the report.

    Attributes:
        name: What was measured.
        value: The figure.
        goal: The most it should be.
        examples: The worst places, for the reader who wants to improve it.
    """

    name: str
    value: int
    goal: int
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        mark = "ok  " if self.value <= self.goal else "over"
        more = f"   {', '.join(self.examples)}" if self.examples else ""
        return f"{mark} {self.name:<58} {self.value:>6} (goal {self.goal}){more}"


class House:
    """The modules of the product, without the simulator, and who imports whom."""

    def __init__(self, package: Path = PACKAGE) -> None:
        paths = sorted(path for path in package.rglob("*.py") if "simulator" not in path.relative_to(package).parts)
        self.texts = {_module(path, package): path.read_text(encoding="utf-8") for path in paths}
        self.packages = {_module(path, package) for path in paths if path.name == "__init__.py"}
        self.trees = {name: ast.parse(text) for name, text in self.texts.items()}

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """Module -> modules of ours that it imports when it is imported itself."""
        return {name: set(self._imported(name, tree.body)) for name, tree in self.trees.items()}

    @cached_property
    def importers(self) -> Counter[str]:
        """Module -> how many others import it, late imports included."""
        found = ((name, other) for name, tree in self.trees.items() for other in self._imported(name, ast.walk(tree)))
        return Counter(other for _, other in set(found))

    def _imported(self, name: str, nodes: Any) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, ast.Try) or (isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.dump(node.test)):
                yield from self._imported(name, node.body)
            targets = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                targets = [self._target(node.module, alias.name) for alias in node.names]
            yield from (target for target in targets if target in self.texts and target != name)

    def _target(self, module: str, name: str) -> str:
        return f"{module}.{name}" if f"{module}.{name}" in self.texts else module

    def small_modules(self) -> list[str]:
        """Modules with one importer and few lines; a package's own file is none of them."""
        return [
            name
            for name, text in self.texts.items()
            if name not in self.packages and text.count("\n") < SMALL_MODULE and self.importers[name] == 1
        ]

    def flat_modules(self) -> Counter[str]:
        """Package -> modules directly in it."""
        return Counter(name.rpartition(".")[0] for name in self.texts if name not in self.packages)

    def constructors(self) -> Counter[str]:
        """Class -> parameters of its constructor; the fields of records are data and do not count."""
        found: Counter[str] = Counter()
        for name, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    for method in node.body:
                        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                            found[f"{name}.{node.name}"] = len(method.args.args + method.args.kwonlyargs) - 1
        return found

    def cycles(self) -> list[str]:
        """Groups of modules that import each other in a circle (Tarjan's strongly connected components)."""
        index: dict[str, int] = {}
        low: dict[str, int] = {}
        stack: list[str] = []
        found: list[str] = []

        def visit(name: str) -> None:
            index[name] = low[name] = len(index)
            stack.append(name)
            for other in sorted(self.imports[name]):
                if other not in index:
                    visit(other)
                if other in stack:
                    low[name] = min(low[name], low[other])
            if low[name] == index[name]:
                group = stack[stack.index(name) :]
                del stack[stack.index(name) :]
                if len(group) > 1:
                    found.append(" - ".join(sorted(group)))

        for name in self.imports:
            if name not in index:
                visit(name)
        return found


def _module(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@dataclass
class Journey:
    """The way of one streamed chat answer through the code: own modules passed, and calls of own functions."""

    modules: Counter[str]

    @property
    def calls(self) -> int:
        """Calls of functions of the product, generators resumed included."""
        return self.modules.total()


def journey(sim: SimulatorClient, folder: Path) -> Journey:
    """Asks for one streamed chat answer of five deltas within this process, and counts what it passes.

    The first turns warm up what is made once: connections, the catalogue, caches.
    """
    service = Service(folder, sim)
    service.login()
    client = create_app(load_settings({**service.environ}), {}).test_client()
    body = {"model": "gpt-5.2", "stream": True, "messages": [{"role": "user", "content": "Count to five."}]}
    sim.script(say(*DELTAS), repeat=WARM_UP_TURNS + 1)
    passed: Counter[str] = Counter()

    def on_call(frame: FrameType, event: str, argument: object) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(str(PACKAGE)) and "/simulator/" not in path:
            passed[path] += 1

    for turn in range(WARM_UP_TURNS + 1):
        if turn == WARM_UP_TURNS:
            sys.setprofile(on_call)
        try:
            answer = client.post("/v1/chat/completions", json=body)
            text = answer.get_data(as_text=True)
        finally:
            sys.setprofile(None)
        assert answer.status_code == 200 and all(json.dumps(delta) in text for delta in DELTAS), text
    return Journey(passed)


def figures(house: House, way: Journey) -> list[Figure]:
    """The report's rows."""
    small, flat, wide, cycles = house.small_modules(), house.flat_modules(), house.constructors(), house.cycles()
    (flattest, modules), (widest, parameters) = flat.most_common(1)[0], wide.most_common(1)[0]
    many = tuple(f"{name} {count}" for name, count in flat.most_common() if count > 14)
    broad = tuple(f"{name.rpartition('.')[2]} {count}" for name, count in wide.most_common() if count > 6)
    return [
        Figure("files", len(house.texts), 210),
        Figure("lines", sum(text.count("\n") for text in house.texts.values()), 31_000),
        Figure(f"modules with one importer, under {SMALL_MODULE} lines", len(small), 15, tuple(small)),
        Figure("modules that a chat stream of five deltas passes", len(way.modules), 60),
        Figure("calls of own functions by that stream", way.calls, 450),
        Figure("most modules directly in one package", modules, 14, many or (flattest,)),
        Figure("most parameters of a constructor", parameters, 6, broad or (widest,)),
        Figure("groups of modules that import each other in a circle", len(cycles), 0, tuple(cycles)),
    ]


def main() -> None:
    """Prints the report; with ``--way``, also the modules that the stream passed and the calls in each."""
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as folder, SimulatorProcess() as simulator:
        way = journey(SimulatorClient(simulator.base_url), Path(folder))
    print("\n".join(str(figure) for figure in figures(House(), way)))
    if "--way" in sys.argv:
        for path, calls in way.modules.most_common():
            print(f"{calls:>6} {Path(path).relative_to(PACKAGE)}")


if __name__ == "__main__":
    main()
