"""The house that the rows of the table are played in."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest

from codexproxy.access.keys import hash_key
from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from tests.faults import outcome
from tests.faults.company import in_company, looked_at
from tests.faults.outcome import HostFault
from tests.faults.playing import House
from tests.faults.table import HOST
from tests.faults.upstreams import bad_upstreams
from tests.service import Service

LIMITS = {
    "HEARTBEAT_SECONDS": f"{outcome.HEARTBEAT}",
    "CODEX_CONNECT_TIMEOUT": f"{outcome.CONNECT}",
    "CODEX_FIRST_EVENT_TIMEOUT": f"{outcome.FIRST_EVENT}",
    "CODEX_IDLE_TIMEOUT": f"{outcome.IDLE}",
    "CODEX_TIMEOUT": f"{outcome.TOTAL}",
}


def config(upstreams: dict[str, str]) -> str:
    """A config file in which every upstream has a key that is called like it."""
    providers = [{"name": name, "groupTag": name, "url": url} for name, url in upstreams.items()]
    users = [{"name": name, "apiKeyHash": hash_key(name), "providerGroup": name} for name in upstreams]
    return json.dumps({"providers": providers, "users": users})


def ledger_of(data_dir: Path) -> Counter[tuple[str, int, str]]:
    """Api, status and code of every turn in the ledger, which the service makes with the first row."""
    path = data_dir / "ledger.sqlite3"
    if not path.exists():
        return Counter()
    connection = sqlite3.connect(path)
    try:
        (made,) = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'turns'").fetchone()
        return Counter(connection.execute("SELECT dialect, status, code FROM turns") if made else ())
    finally:
        connection.close()


@pytest.fixture(scope="package")
def simulator() -> Iterator[SimulatorProcess]:
    """An upstream that nobody else is connected to, since what stays open is counted."""
    with SimulatorProcess() as process:
        yield process


@pytest.fixture
def row(request: pytest.FixtureRequest) -> HostFault:
    """The row of the table that the test is named in."""
    return HOST[request.node.originalname]


@pytest.fixture(params=["alone", "in company"])
def company(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Settings of a service with one worker and no key, and of one with two, a limited key and commands beside it."""
    return in_company(tmp_path / "settings") if request.param == "in company" else {}


@pytest.fixture
def beside(company: dict[str, str]) -> Callable[[Service], AbstractContextManager[object]]:
    """Lets commands look at the service's data folder for the length of a ``with`` block, where there is company."""
    return looked_at if company else nullcontext


@pytest.fixture(scope="module")
def upstream_house(simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A service with short limits that knows the simulator and every broken upstream."""
    folder = tmp_path_factory.mktemp("faults")
    with bad_upstreams(folder, simulator.base_url) as bad:
        path = folder / "config.json"
        path.write_text(config({"simulator": SimulatorClient(simulator.base_url).backend_url, **bad}))
        with limited_house(simulator, folder / "service", keyed=True, CONFIG_PATH=str(path)) as house:
            yield house


@contextmanager
def limited_house(simulator: SimulatorProcess, folder: Path, *, keyed: bool = False, **environ: str) -> Iterator[House]:
    """A service with short limits, which leaves nothing open and a whole ledger."""
    sim = SimulatorClient(simulator.base_url)
    sim.reset()
    with Service(folder, sim, **LIMITS, **environ) as service:
        house = House(service, sim, keyed=keyed)
        house.is_well()
        yield house
    # Once it has stopped, nothing is on its way into the ledger.
    assert ledger_of(service.data_dir) == house.ledger
    assert sim.counters()["open_connections"] == 1, "an upstream connection was left open"
