"""Fixtures of the simulator's own tests."""

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.simulator.talk import Talker


@pytest.fixture
def talker(sim: SimulatorClient) -> Talker:
    """A signed-in client of a clean simulator."""
    return Talker(sim)
