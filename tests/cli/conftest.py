"""Fixtures for tests of the commands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.cli.home import Home


@pytest.fixture
def home(tmp_path: Path, sim: SimulatorClient) -> Iterator[Home]:
    """A home folder; the login service approves every browser, and its device codes are polled often."""
    sim.rules(auto_approve=True)
    sim.settings(device_interval="0.1")
    home = Home(tmp_path, sim)
    yield home
    home.close()
