"""Fixtures for all tests."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from tests.service import Service

# The same examples in every run, and no limits of time: how long one takes says more of the machine than of the code.
settings.register_profile(
    "fixed", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fixed")

# A shell starts what it runs in the background deaf to Ctrl-C, and the programs under test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
def standing_service(simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service with two workers and default settings for all tests; use ``service``."""
    client = SimulatorClient(simulator.base_url)
    with Service(tmp_path_factory.mktemp("service"), client, WEB_CONCURRENCY="2") as service:
        yield service


@pytest.fixture
def service(standing_service: Service, sim: SimulatorClient) -> Service:
    """The standing service, logged in afresh."""
    standing_service.login()
    return standing_service


@pytest.fixture
def serve(sim: SimulatorClient, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts services with settings of their own: ``serve(HEARTBEAT_SECONDS="0.2")``."""
    started: list[Service] = []

    def start(*, login: bool = True, **environ: str) -> Service:
        service = Service(tmp_path / f"service-{len(started)}", sim, **environ)
        started.append(service)
        if login:
            service.login()
        return service.start()

    yield start
    for service in started:
        service.stop()
