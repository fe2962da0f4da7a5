"""Fixtures for all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def simulator() -> Iterator[SimulatorProcess]:
    """The fake upstream and issuer, as one process for all tests; use ``sim`` to steer it."""
    with SimulatorProcess() as process:
        yield process


@pytest.fixture
def sim(simulator: SimulatorProcess) -> SimulatorClient:
    """A client of the simulator, which begins each test with a clean slate."""
    client = SimulatorClient(simulator.base_url)
    client.reset()
    return client


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recorded traffic and schemas beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("the folder with recorded traffic, ../shared, is not beside this checkout")
    return SHARED
