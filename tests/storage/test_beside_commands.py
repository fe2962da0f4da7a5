"""Commands that look at the data folder while the service writes cost nothing."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from codexproxy.simulator.client import SimulatorClient
from codexproxy.storage.sqlite.ledger import Ledger
from tests.faults.company import COMMANDS, looked_at
from tests.service import ROOT, Service

HELLO = {"model": "gpt-5.2", "input": "hi"}
TURNS = 40


def test_every_turn_has_its_row_while_commands_look_and_nobody_else_opens_a_database(
    sim: SimulatorClient, tmp_path: Path
) -> None:
    notes = tmp_path / "opened"
    watching = {"PYTHONPATH": str(ROOT / "tests" / "fakes" / "watched_files"), "WATCHED_FILES": str(notes)}
    asked = 0
    with Service(tmp_path / "service", sim, WEB_CONCURRENCY="2", **watching) as service:
        with looked_at(service) as ran, ThreadPoolExecutor(4) as pool:
            while asked < TURNS or len(ran) < 2 * len(COMMANDS):
                answers = list(pool.map(lambda _: service.post("/v1/responses", HELLO).status, range(4)))
                assert answers == [200] * 4
                # The report reads the ledger within the worker, the status the quotas.
                assert service.get("/v1/quota").status == 200
                assert service.get("/auth/status").status == 200
                asked += 4
        assert "ruined" not in service.log
    with closing(Ledger(service.data_dir / "ledger.sqlite3")) as ledger:
        assert len(ledger.newest(10 * asked)) == asked
    assert not notes.exists(), notes.read_text()
