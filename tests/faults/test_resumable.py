"""A stream that can be taken up again is made in a greenlet of its own, and fails as any other does."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from codexproxy.simulator.process import SimulatorProcess
from tests.faults.conftest import limited_house
from tests.faults.outcome import Fault
from tests.faults.playing import Got, House, Way
from tests.faults.table import UPSTREAM

WAY = Way("responses", stream=True)
# Ways to fail when words have been said.
ROWS = [fault for fault in UPSTREAM if fault.delivered and "pace_ms" not in (fault.script or {})]


@pytest.fixture(scope="module")
def house(simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with limited_house(simulator, tmp_path_factory.mktemp("resumable"), CODEX_RESUME_GRACE_SECONDS="5") as house:
        yield house


@pytest.fixture(scope="module")
def played(house: House) -> dict[str, Got]:
    """All of them at once, since most wait for a limit."""
    for fault in ROWS:
        house.sim.script(fault.script or {}, match=fault.slug, repeat=-1)
    with ThreadPoolExecutor(len(ROWS)) as pool:
        found = pool.map(lambda fault: house.ask(WAY, fault.slug), ROWS)
        return {fault.slug: got for fault, got in zip(ROWS, found, strict=True)}


@pytest.mark.parametrize("fault", ROWS, ids=lambda fault: fault.slug)
def test_words_that_came_before_a_fault_are_delivered_and_the_fault_is_told(
    played: dict[str, Got], fault: Fault
) -> None:
    got = played[fault.slug]
    assert (got.told.status, got.told.code, got.text) == (200, fault.stream.code, fault.delivered)
    assert fault.stream.says in got.told.says
    assert got.is_ended


def test_nothing_is_open_upstream_afterwards(house: House, played: dict[str, Got]) -> None:
    house.is_calm()
    house.is_well()
