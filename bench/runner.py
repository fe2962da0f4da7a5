"""Runs scenarios against servers, in interleaved rounds."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from bench.client import Load
from bench.figures import Metrics, median
from bench.process import cpu_seconds, memory_mb
from bench.scenarios import Scenario
from bench.targets.server import NotStarted, Server
from bench.targets.table import TARGETS, Make

ROOT = Path(__file__).resolve().parents[1]
# Scenario -> target -> one entry per round.
Results = dict[str, dict[str, list[Metrics]]]
# Streams held open while memory is measured.
HELD = 500


@contextmanager
def source(port: int = 0) -> Iterator[int]:
    """The load source as a process; gives its port."""
    command = [sys.executable, "-m", "bench.source", str(port)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert child.stdin is not None and child.stdout is not None
    try:
        yield int(child.stdout.readline())
    finally:
        child.stdin.close()
        child.wait()
        child.stdout.close()


@contextmanager
def servers(
    names: Sequence[str], source_port: int, targets: Mapping[str, Make] = TARGETS
) -> Iterator[dict[str, Server]]:
    """The servers of these names that are installed, started; a guest that does not start is left out aloud.

    Raises:
        NotStarted: One that is no guest did not come up.
    """
    started: dict[str, Server] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as parent:
        try:
            for number, name in enumerate(names):
                folder = Path(parent) / str(number)
                folder.mkdir()
                server = targets[name](source_port, folder)
                if server is not None and _starts(server):
                    started[name] = server
            yield started
        finally:
            for server in started.values():
                server.stop()


def _starts(server: Server) -> bool:
    try:
        server.start()
    except NotStarted as problem:
        if not server.guest:
            raise
        print(f"     {problem}", file=sys.stderr)
        return False
    return True


def rounds(
    scenario: Scenario, started: dict[str, Server], repeat: int, say: Callable[[str], None]
) -> dict[str, list[Metrics]]:
    """Measures a scenario: each round asks every target once, one after the other."""
    here = list(started)
    for name in here:
        with started[name].awake():
            warm(started[name], scenario)
    results: dict[str, list[Metrics]] = {name: [] for name in here}
    for number in range(repeat):
        # Every other round goes backwards, so that no target always follows the same one.
        for name in here if number % 2 == 0 else reversed(here):
            with started[name].awake():
                metrics = run(started[name], scenario)
            results[name].append(metrics)
            say(f"{scenario.key:4} round {number + 1} {name:16} {_in_short(metrics)}")
    return results


def _in_short(metrics: Metrics) -> str:
    shown = ("cpu_us", "lag_p50", "lag_p99", "first_p50", "total_p50", "rps", "alone", "errors")
    return "  ".join(f"{name} {metrics[name]:.4g}" for name in shown if name in metrics)


def warm(server: Server, scenario: Scenario) -> None:
    """One small request: what is done once is not measured."""
    small = Scenario("warm", "", 1, 2, 0, dialect=scenario.dialect)
    drive(server, small.load(server.port, *_route(server, small)))


def run(server: Server, scenario: Scenario) -> Metrics:
    """One round of one target: what its clients saw, and what it cost."""
    asked = scenario.once() if server.guest else scenario
    load = asked.load(server.port, *_route(server, scenario))
    before = cpu_seconds(server.pid) if server.pid else 0.0
    metrics, errors = drive(server, load)
    units = metrics["deltas"] if scenario.stream else metrics["requests"]
    # What failed altogether has no cost per unit.
    if server.pid and units and metrics["requests"]:
        metrics["cpu_us"] = (cpu_seconds(server.pid) - before) * 1e6 / units
    if server.pid:
        metrics["memory_mb"] = memory_mb(server.pid)
    if errors:
        print(f"     {server.name}: {errors}", file=sys.stderr)
    return metrics


def _route(server: Server, scenario: Scenario) -> tuple[str, str]:
    path = server.paths.get(scenario.dialect) or server.paths["chat"]
    return path, "chat" if path.endswith("/chat/completions") else "responses"


def drive(server: Server, load: Load) -> tuple[Metrics, dict[str, int]]:
    """Runs the load client as a process of its own."""
    with _client(load) as client:
        lines, _ = client.communicate(timeout=load.limit + 60)
    told = json.loads(lines.splitlines()[-1])
    return told["metrics"], told["errors"]


@contextmanager
def _client(load: Load) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "bench.client"]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert client.stdin is not None
    client.stdin.write(json.dumps(asdict(load)) + "\n")
    client.stdin.flush()
    try:
        yield client
    finally:
        client.kill()
        client.wait()
        client.stdin.close()
        if client.stdout is not None:
            client.stdout.close()


def memory(name: str, source_port: int, starts: int, say: Callable[[str], None]) -> list[Metrics]:
    """Cold starts, and the memory of a fresh server: idle, per open stream, over a long stream."""
    seconds: list[float] = []
    metrics: Metrics = {}
    for number in range(starts):
        with _fresh(name, source_port) as server:
            if server is None:
                return []
            seconds.append(server.start())
            if number == starts - 1:
                metrics = _memory_of(server)
    metrics["start_s"] = median(seconds)
    say(f"mem          {name:16} " + "  ".join(f"{key} {value:.4g}" for key, value in metrics.items()))
    return [metrics]


@contextmanager
def _fresh(name: str, source_port: int) -> Iterator[Server | None]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        server = TARGETS[name](source_port, Path(folder))
        try:
            yield server
        finally:
            if server is not None:
                server.stop()


def _memory_of(server: Server) -> Metrics:
    assert server.pid is not None
    held = Scenario("hold", "", HELD, 1_000, 1_000, ramp=2.5)
    long = Scenario("long", "", 1, 20_000, 0, per_place=3)
    warm(server, held)
    idle = peak = memory_mb(server.pid)
    with _client(long.load(server.port, *_route(server, long))) as client:
        while client.poll() is None:
            peak = max(peak, memory_mb(server.pid))
            time.sleep(0.005)
    empty = memory_mb(server.pid)
    with _client(held.load(server.port, *_route(server, held))) as client:
        assert client.stdout is not None
        client.stdout.readline()
        full = memory_mb(server.pid)
    return {"idle_mb": idle, "grown_mb": peak - idle, "stream_kb": (full - empty) * 1000 / HELD}
