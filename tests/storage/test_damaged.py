"""A database that is damaged under a running service costs no answer and is begun anew; one that stays broken is told."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from codexproxy.storage.sqlite.database import Database
from codexproxy.storage.sqlite.ledger import Ledger
from tests.faults.company import in_company
from tests.service import Answer, Service, wait_until

KEY = {"Authorization": "Bearer simulator"}
NAMES = ("limits", "responses", "ledger", "quotas", "conversations")


@pytest.fixture(scope="module")
def service(simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("damaged")
    with Service(folder / "service", SimulatorClient(simulator.base_url), **in_company(folder)) as running:
        yield running


def ask(service: Service, text: str) -> Answer:
    body = {"model": "gpt-5.2", "input": [{"role": "user", "content": text}], "store": True}
    return service.post("/v1/responses", body, KEY)


def ruin(path: Path) -> None:
    """Garbage over the whole file, the log of what is not in it yet included."""
    for name in (path.name, f"{path.name}-wal"):
        with path.with_name(name).open("r+b") as file:
            size = max(file.seek(0, os.SEEK_END), 4096)
            file.seek(0)
            file.write(os.urandom(size))


@pytest.mark.parametrize("name", NAMES)
def test_a_database_that_is_overwritten_while_it_is_used_costs_no_answer(service: Service, name: str) -> None:
    path = service.data_dir / f"{name}.sqlite3"
    for number in range(4):
        assert ask(service, f"before {name} {number}").status == 200
    wait_until(path.with_name(f"{path.name}-wal").exists, f"the opening of {path.name}")
    ruin(path)
    for number in range(6):
        answer = ask(service, f"after {name} {number}")
        assert answer.status == 200, answer.body[:300]
    # A process that has all of it in memory may never notice; the next one to open it does.
    with closing(Database(path, ())) as fresh:
        fresh.rows("SELECT name FROM sqlite_master")
    # What was stored between the damage and its discovery is gone with the file; what comes after is kept.
    answer = ask(service, f"once more {name}")
    assert answer.status == 200
    found = answer.json["id"]
    assert service.get(f"/v1/responses/{found}", KEY).status == 200
    assert service.get("/ready").json["status"] == "ready"


def test_turns_after_the_damage_have_their_rows(service: Service) -> None:
    path = service.data_dir / "ledger.sqlite3"
    with closing(Ledger(path)) as ledger:
        ask(service, "a turn")
        wait_until(lambda: ledger.newest(1), "a row")
        before = len(ledger.newest(10_000))
        ruin(path)
        for number in range(8):
            assert ask(service, f"turn {number}").status == 200
    with closing(Ledger(path)) as ledger:
        # At most what the damage itself took is missing.
        wait_until(lambda: len(ledger.newest(10_000)) >= 8, f"eight rows, after {before}", 40)


def test_a_database_that_stays_broken_is_told_by_ready_and_costs_no_answer(
    sim: SimulatorClient, tmp_path: Path
) -> None:
    service = Service(tmp_path / "service", sim, **{**in_company(tmp_path / "settings"), "WEB_CONCURRENCY": "1"})
    (service.data_dir / "limits.sqlite3").mkdir()
    with service:
        assert ask(service, "a turn").status == 200
        told = service.get("/ready")
        assert told.status == 200
        assert "limits.sqlite3 in the data folder cannot be used" in json.dumps(told.json["notes"])
        (service.data_dir / "limits.sqlite3").rmdir()
        assert ask(service, "another").status == 200
        assert "limits.sqlite3" not in json.dumps(service.get("/ready").json)
