"""The mixed part: warm, stormy, calm, quiet, over."""

import json
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from codexproxy.access.keys import hash_key
from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from tests.service import Service
from tests.soak import audit, faults
from tests.soak.audit import Finding
from tests.soak.clients import SCRAPER, crowd
from tests.soak.gauges import Gauges, Watch
from tests.soak.sockets import connections
from tests.soak.storm import Storm
from tests.soak.tally import Tally

CLIENTS = 20
WORKERS = 2
LOG_BYTES = 2 * 2**20
# The shares of the time.
WARM, CALM = 0.07, 0.4

Say = Callable[[str], None]


class Mixed:
    """One run.

    Args:
        folder: Holds all that is written.
        sim: The upstream.
        seed: Of all choices.
        say: Told how it goes.
    """

    def __init__(self, folder: Path, sim: SimulatorClient, seed: int, say: Say) -> None:
        self.tally = Tally()
        self._sim, self._seed, self._say = sim, seed, say
        self._logs, self._temporary = folder / "logs", folder / "tmp"
        self._temporary.mkdir()
        users = [{"name": f"user-{number}", "apiKeyHash": hash_key(f"user-{number}-key")} for number in range(CLIENTS)]
        users.append({"name": SCRAPER, "apiKeyHash": hash_key(f"{SCRAPER}-key"), "role": "metrics"})
        config = folder / "config.json"
        config.write_text(json.dumps({"users": users}))
        self._service = Service(
            folder / "service",
            sim,
            CONFIG_PATH=str(config),
            WEB_CONCURRENCY=str(WORKERS),
            HEARTBEAT_SECONDS="1",
            CODEX_FIRST_EVENT_TIMEOUT=str(faults.PATIENCE),
            CODEX_IDLE_TIMEOUT=str(faults.PATIENCE),
            CODEX_MAX_PARALLEL_REQUESTS=str(CLIENTS - 4),
            LOG_DIR=str(self._logs),
            LOG_MAX_BYTES=str(LOG_BYTES),
            TMPDIR=str(self._temporary),
        )

    def run(self, seconds: float) -> Iterable[Finding]:
        """Runs, and tells what is found in the end."""
        sim = self._sim
        sim.settings(access_lifetime=audit.LIFETIME, keep_requests=False, pace_ms=8)
        faults.install(sim)
        self._service.login(lifetime=audit.LIFETIME)
        self._service.start()
        try:
            yield from self._play(seconds)
            yield audit.ends(self._service)
        finally:
            self._service.stop()
        yield audit.left("processes", audit.alive(self._gauges.pids))
        yield audit.left("folders of metrics", self._temporary.glob("codexproxy-metrics-*"))
        yield audit.left("tickets and temporary files", audit.litter(self._service))
        yield audit.ledger(self._service.data_dir, self.tally)

    def _play(self, seconds: float) -> Iterable[Finding]:
        service, tally = self._service, self.tally
        assert service.process is not None
        master = service.process.pid
        self._gauges = Gauges(master)
        self._gauges.start()
        watch = Watch(service.port)
        watch.start()
        clients = crowd(CLIENTS, service.port, tally, self._seed)
        time.sleep(seconds * WARM)
        storm = Storm(master, service.port, service.data_dir / "tokens.json.lock", tally, self._seed)
        storm.start()
        time.sleep(seconds * (1 - WARM - CALM))
        storm.stop()
        self._say(f"{len(tally.kills)} workers killed, {tally.reloads} reloads; now a calm")
        began = time.monotonic()
        time.sleep(seconds * CALM)
        ended = time.monotonic()
        span = self._gauges.between(began, ended)
        watch.stop()
        for client in clients:
            client.stop()
        for client in clients:
            client.join()
        self._gauges.stop()
        yield audit.failures(tally)
        yield audit.health(watch.between(began, ended))
        yield from audit.flat(span)
        yield from self._quiet()

    def _quiet(self) -> Iterable[Finding]:
        service = self._service
        audit.comes_true(lambda: self._sim.counters()["open_streams"] == 0)
        yield audit.left("streams of the upstream", range(self._sim.counters()["open_streams"]))
        audit.comes_true(lambda: not connections(service.port))
        yield audit.left("connections of clients", connections(service.port))
        yield audit.at_rest(service)
        yield audit.stored(service, self.tally)
        yield audit.refreshes(self._sim)
        yield from audit.bounds(service, self._temporary, self._logs, LOG_BYTES)


def mixed(seconds: float, seed: int, say: Say, keep: Path | None = None) -> tuple[Tally, list[Finding]]:
    """Runs the mixed part.

    Args:
        seconds: How long.
        seed: Of all choices.
        say: Told how it goes.
        keep: Where to leave what was written; a folder that is removed when omitted.
    """
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary, SimulatorProcess() as simulator:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        run = Mixed(folder, SimulatorClient(simulator.base_url, timeout=60), seed, say)
        return run.tally, list(run.run(seconds))
