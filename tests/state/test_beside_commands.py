"""Commands that look at the data folder while the service writes cost nothing."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import cycle
from pathlib import Path
from threading import Event

from codexproxy.simulator.client import SimulatorClient
from codexproxy.state.ledger import Ledger
from tests.service import ROOT, Service

HELLO = {"model": "gpt-5.2", "input": "hi"}
# keys.json is all that the key commands touch, and they make a key that nobody uses.
COMMANDS = (["usage"], ["quota"], ["keys", "list"], ["status"], ["doctor"], ["usage", "--json"])
TURNS = 40


@contextmanager
def looked_at(service: Service) -> Iterator[list[tuple[str, int, str]]]:
    """Runs all commands again and again, at least each once; their names, exit codes and errors."""
    ran: list[tuple[str, int, str]] = []
    over = Event()

    def look() -> None:
        for command in cycle(COMMANDS):
            done = subprocess.run(
                [sys.executable, "-m", "codexproxy", *command],
                cwd=ROOT,
                env=service.environ,
                capture_output=True,
                text=True,
                timeout=60,
            )
            ran.append((" ".join(command), done.returncode, done.stderr))
            if over.is_set() and len(ran) >= len(COMMANDS):
                return

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        try:
            yield ran
        finally:
            over.set()
            looking.result()


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
        assert not [told for told in ran if told[1] not in (0, 1) or "Traceback" in told[2]]
        assert "ruined" not in service.log
    with closing(Ledger(service.data_dir / "ledger.sqlite3")) as ledger:
        assert len(ledger.newest(10 * asked)) == asked
    assert not notes.exists(), notes.read_text()
