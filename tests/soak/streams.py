"""The other part: 200 streams that stay open, in which nothing may grow."""

import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.runner import drive, source
from bench.scenarios import Scenario
from bench.targets.server import CHAT, RESPONSES, Server
from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from tests.service import Service
from tests.soak.audit import Finding, comes_true
from tests.soak.gauges import Gauges

STREAMS = 200
PACE = 200  # milliseconds
# Megabytes and descriptors by which one worker may differ.
MEMORY_SLACK, DESCRIPTOR_SLACK = 3.0, 4


def streams(seconds: float) -> list[Finding]:
    """Keeps the streams open for so long, at one worker."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, SimulatorProcess() as simulator, source() as port:
        sim = SimulatorClient(simulator.base_url)
        backend = f"http://127.0.0.1:{port}/backend-api"
        with Service(Path(folder), sim, CODEX_BACKEND_URL=backend, CODEX_TIMEOUT="0") as service:
            return list(_findings(service, seconds))


def _findings(service: Service, seconds: float) -> Iterable[Finding]:
    assert service.process is not None
    gauges = Gauges(service.process.pid)
    server = Server("service", service.port, {"chat": CHAT, "responses": RESPONSES})
    load = Scenario("open", "", STREAMS, max(1, int(seconds * 1000 / PACE)), PACE, ramp=2.03)
    warm = Scenario("warm", "", STREAMS, 15, PACE, ramp=1.03)
    drive(server, warm.load(service.port, CHAT, "chat"))
    before = gauges.take()
    gauges.start()
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        metrics, errors = pool.submit(drive, server, load.load(service.port, CHAT, "chat")).result()
    gauges.stop()
    span = gauges.between(began + 4, time.monotonic() - 4)
    lag = f"lag p50 {metrics.get('lag_p50', 0):.1f} ms, p99 {metrics.get('lag_p99', 0):.1f} ms"
    wanted = STREAMS * load.deltas
    complete = errors == {} and metrics["deltas"] == wanted
    found = f"{metrics['deltas']:.0f} of {wanted} deltas, {lag}"
    yield Finding(f"{STREAMS} streams for {seconds:.0f} s", found, "" if complete else str(errors or "deltas missing"))
    for name, unit, slack in (("memory", "MB", MEMORY_SLACK), ("descriptors", "", DESCRIPTOR_SLACK)):
        early, late = span.growth(name)
        wrong = f"more than {slack:g} more" if late > early + slack else ""
        yield Finding(f"{name} meanwhile", f"{early:.1f} → {late:.1f} {unit}".rstrip(), wrong)
    # The upstream's connections wait in the pool for the next turn, as they did before.
    most = before.descriptors + DESCRIPTOR_SLACK
    gone = comes_true(lambda: gauges.take().descriptors <= most)
    after = gauges.samples[-1].descriptors
    yield Finding("descriptors afterwards", f"{before.descriptors} → {after}", "" if gone else f"more than {most}")
