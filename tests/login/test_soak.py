"""Many processes, short tokens, sudden deaths: one refresh per expiry, and nobody notices.

``CODEXPROXY_SOAK_SECONDS=60 pytest tests/login/test_soak.py`` runs the long form.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from codexproxy.login.tokens.file_store import FileTokenStore
from codexproxy.login.tokens.tokens import Tokens
from codexproxy.simulator.client import SimulatorClient
from tests.patience import patient

ROOT = Path(__file__).resolve().parents[2]
SECONDS = float(os.environ.get("CODEXPROXY_SOAK_SECONDS", "12"))
LIFETIME = 2.0
KILL_EVERY = 3.0


class Crew:
    """Worker processes of one host."""

    def __init__(self, sim: SimulatorClient, folder: Path) -> None:
        self.sim = sim
        self.folder = folder
        self.store = FileTokenStore(folder / "tokens.json")
        self.workers: list[subprocess.Popen[str]] = []
        self._rotations: dict[int, float] = {}

    def login(self) -> None:
        self.store.save(Tokens.from_json(self.sim.login()))

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.login.soak_worker", self.sim.base_url, str(self.folder)]
        worker = subprocess.Popen(
            [*command, *map(str, arguments)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.workers.append(worker)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        return worker

    def go(self, *workers: subprocess.Popen[str]) -> None:
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()

    def tally(self) -> Counter[str]:
        """Stops the workers that are left and adds up what they counted."""
        total: Counter[str] = Counter()
        for worker in self.workers:
            total.update(json.loads(worker.communicate(timeout=patient(90))[0]))
        self.workers.clear()
        return total

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.communicate()

    def rotations(self) -> list[float]:
        """When the issuer spent a refresh token so far, epoch seconds. Ask often: it remembers the newest requests."""
        for request in self.sim.requests("/oauth/token"):
            if request["status"] in (200, None):
                self._rotations[request["number"]] = request["at"]
        return [self._rotations[number] for number in sorted(self._rotations)]


@pytest.fixture
def crew(sim: SimulatorClient, tmp_path: Path):
    crew = Crew(sim, tmp_path / "data")
    yield crew
    crew.close()


def failures(tally: Counter[str]) -> dict[str, int]:
    return {outcome: count for outcome, count in tally.items() if outcome.startswith("failed")}


def test_fifty_requests_in_four_processes_at_expiry_refresh_once(crew: Crew) -> None:
    crew.login()
    crew.sim.rules(refresh_slow={"ms": 150})
    workers = [crew.start(greenlets, 0, 1) for greenlets in (13, 13, 12, 12)]
    old = crew.store.load()
    assert old is not None
    crew.sim.expire(old.access_token)
    crew.store.save(Tokens.from_json({**old.to_json(), "access_token": "", "expires_at": 1}))
    crew.go(*workers)
    tally = crew.tally()
    assert tally["ok"] == 50
    assert not failures(tally)
    counters = crew.sim.counters()
    assert (counters["refreshes"], counters["reuse_detections"]) == (1, 0)


def test_fifty_401s_in_four_processes_refresh_once(crew: Crew) -> None:
    crew.login()
    crew.sim.rules(refresh_slow={"ms": 150})
    workers = [crew.start(greenlets, 0, 1) for greenlets in (13, 13, 12, 12)]
    old = crew.store.load()
    assert old is not None
    crew.sim.revoke(old.access_token)
    crew.go(*workers)
    tally = crew.tally()
    assert (tally["ok"], failures(tally)) == (50, {})
    counters = crew.sim.counters()
    assert (counters["refreshes"], counters["reuse_detections"]) == (1, 0)


def test_soak_one_refresh_per_expiry_and_no_failed_request(crew: Crew) -> None:
    crew.sim.settings(access_lifetime=LIFETIME)
    crew.login()
    crew.go(*[crew.start(25, 0.5) for _ in range(4)])
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        time.sleep(0.5)
        crew.rotations()
    tally = crew.tally()
    assert not failures(tally)
    assert tally["login_expired"] == 0
    assert tally["ok"] > SECONDS * 20
    assert crew.sim.counters()["reuse_detections"] == 0
    rotations = crew.rotations()
    # A token counts whole seconds: issued at 10.9 it ends at 12. From there a fifth of its two seconds is
    # taken off, and what is left shortened by an eighth at most. A second refresh for one expiry would be closer.
    assert min(later - earlier for earlier, later in pairwise(rotations)) > (LIFETIME - 1 - LIFETIME / 5) * 7 / 8 - 0.1
    assert crew.sim.counters()["refreshes"] == len(rotations) >= SECONDS / (LIFETIME + 1) - 1


def test_soak_with_a_process_killed_every_three_seconds(crew: Crew) -> None:
    crew.sim.settings(access_lifetime=LIFETIME)
    crew.sim.rules(refresh_slow={"ms": 100})
    crew.login()
    crew.go(*[crew.start(25, 0.5) for _ in range(4)])
    chance, end = random.Random(SECONDS), time.monotonic() + SECONDS
    kills: list[float] = []
    lost: list[float] = []
    next_kill = time.monotonic() + 1
    while time.monotonic() < end:
        if time.monotonic() >= next_kill:
            next_kill += KILL_EVERY
            victim = crew.workers.pop(chance.randrange(len(crew.workers)))
            kills.append(time.time())
            os.kill(victim.pid, signal.SIGKILL)
            victim.communicate()
            crew.go(crew.start(25, 0.5))
        stored = crew.store.load()
        assert stored is not None, "a killed process took the login away"
        if stored.refresh_error:
            assert stored.refresh_error == "refresh_token_reused"
            lost.append(crew.rotations()[-1])
            crew.login()
        time.sleep(0.05)
    tally = crew.tally()
    assert not failures(tally)
    assert tally["ok"] > SECONDS * 15
    # A login may only be lost by a kill between the issuer's rotation and our write.
    for rotation in lost:
        assert any(-0.05 <= kill - rotation <= 1 for kill in kills)
    if not lost:
        assert tally["login_expired"] == 0
        assert crew.sim.counters()["reuse_detections"] == 0


def test_a_kill_between_rotation_and_write_names_the_command_and_loses_nothing_else(crew: Crew) -> None:
    crew.sim.settings(access_lifetime=-1)
    crew.login()
    crew.sim.settings(access_lifetime=100)
    crew.sim.rules(refresh_slow={"ms": 10_000})
    before = crew.store.path.read_bytes()
    victim = crew.start(1, 0, 1)
    crew.go(victim)
    crew.sim.wait_for(lambda counters: counters["refreshes"] == 1)
    crew.workers.remove(victim)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    crew.sim.rules(refresh_slow=False)
    assert crew.store.path.read_bytes() == before
    crew.go(crew.start(5, 0, 1))
    assert crew.tally() == {"login_expired": 5}
    counters = crew.sim.counters()
    assert (counters["refreshes"], counters["reuse_detections"]) == (1, 1)
    crew.login()
    crew.go(crew.start(5, 0, 1))
    assert crew.tally() == {"ok": 5}
