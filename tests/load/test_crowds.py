"""Many clients at once, slow ones, and ones that never say what they want: the others do not notice."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit, setrlimit

import pytest

from bench.process import memory_mb, tree
from bench.runner import drive, source
from bench.scenarios import Scenario, body
from bench.targets.server import CHAT, RESPONSES, Server
from tests.patience import patient
from tests.service import Service, wait_until

CROWD = 1_000
# A stream's connections to the client and to the upstream are two descriptors of the worker.
MOST = 5_000
PATHS = {"chat": CHAT, "responses": RESPONSES}


@pytest.fixture(scope="module")
def source_port() -> Iterator[int]:
    with source() as port:
        yield port


@pytest.fixture(scope="module", autouse=True)
def many_open_files() -> Iterator[None]:
    """As many as the system permits, for this process and those it starts."""
    before = getrlimit(RLIMIT_NOFILE)
    setrlimit(RLIMIT_NOFILE, (before[1], before[1]))
    yield
    setrlimit(RLIMIT_NOFILE, before)


@pytest.fixture
def loaded(serve: Callable[..., Service], source_port: int) -> Service:
    """A service with one worker in front of the benchmark's source."""
    return serve(CODEX_BACKEND_URL=f"http://127.0.0.1:{source_port}/backend-api")


def pid_of(service: Service) -> int:
    assert service.process is not None
    return service.process.pid


def descriptors(service: Service) -> int:
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in tree(pid_of(service)))


def run(service: Service, scenario: Scenario) -> tuple[dict[str, float], dict[str, int]]:
    server = Server("service", service.port, PATHS)
    return drive(server, scenario.load(service.port, PATHS[scenario.dialect], scenario.dialect))


def ask(service: Service, deltas: int, pace: int = 0) -> float:
    """Seconds that an honest request takes."""
    began = time.monotonic()
    text = body("chat", Scenario("one", "", 1, deltas, pace))
    answer = service.post(CHAT, json.loads(text))
    assert answer.status == 200
    assert answer.body.count(b'"content":"') >= deltas
    assert answer.body.endswith(b"data: [DONE]\n\n")
    return time.monotonic() - began


@pytest.mark.parametrize("dialect", list(PATHS))
def test_a_thousand_streams_all_get_every_word_and_leave_nothing_behind(loaded: Service, dialect: str) -> None:
    ask(loaded, 2)
    before = descriptors(loaded)
    crowd = Scenario("crowd", "", CROWD, 30, 200, dialect=dialect, ramp=4.03)
    metrics, errors = run(loaded, crowd)
    assert errors == {}
    assert metrics["deltas"] == CROWD * 30
    # Upstream connections wait in the pool for the next turn; clients' are gone.
    wait_until(lambda: descriptors(loaded) <= before + CROWD + 20, "the end of the clients' connections")
    # A second crowd takes the first one's connections.
    assert run(loaded, crowd)[1] == {}
    wait_until(lambda: descriptors(loaded) <= before + CROWD + 20, "the end of the clients' connections")


def test_five_thousand_streams_on_one_worker_all_get_every_word(loaded: Service) -> None:
    if (permitted := getrlimit(RLIMIT_NOFILE)[1]) < MOST * 2 + 1_000:
        pytest.skip(f"the system permits no more than {permitted} open files")
    ask(loaded, 2)
    crowd = Scenario("crowd", "", MOST, 8, 4_000, ramp=12.03)
    server = Server("service", loaded.port, PATHS)
    with ThreadPoolExecutor(1) as pool:
        driven = pool.submit(drive, server, crowd.load(loaded.port, CHAT, "chat"))
        most, opened = 0.0, 0
        while not driven.done():
            most = max(most, memory_mb(pid_of(loaded)))
            opened = max(opened, descriptors(loaded))
            time.sleep(1)
    metrics, errors = driven.result()
    assert errors == {}
    assert metrics["requests"] == MOST
    assert metrics["deltas"] == MOST * 8
    # Nearly all were open at the same time, at both ends.
    assert opened > MOST * 2 * 0.98
    assert most < 500
    assert min(ask(loaded, 2) for _ in range(3)) < patient(2)


def test_memory_per_stream_is_bounded_and_does_not_grow_with_its_length(loaded: Service) -> None:
    flood = Scenario("flood", "", 1, 20_000, 0)
    assert run(loaded, flood)[1] == {}
    before = memory_mb(pid_of(loaded))
    for _ in range(3):
        assert run(loaded, flood)[1] == {}
    assert memory_mb(pid_of(loaded)) - before < 5


def test_a_client_that_does_not_read_costs_no_memory_and_delays_nobody(loaded: Service) -> None:
    ask(loaded, 2)
    before = memory_mb(pid_of(loaded))
    with ExitStack() as stack:
        sleepers = []
        for _ in range(20):
            sock = loaded.send(CHAT, json.loads(body("chat", Scenario("x", "", 1, 20_000, 0))))
            sleepers.append(stack.enter_context(sock))
        # Each answer is nine megabytes, which the kernel's buffers do not hold.
        quickest = min(ask(loaded, 20, 10) for _ in range(5))
        assert quickest < patient(2)
        assert memory_mb(pid_of(loaded)) - before < 60
        # Whoever reads late still gets everything.
        received, end = b"", time.monotonic() + patient(30)
        while not received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") and time.monotonic() < end:
            received = received[-64:] + sleepers[0].recv(1 << 20)
        assert received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    wait_until(lambda: memory_mb(pid_of(loaded)) - before < 30, "the end of the sleepers")


def test_a_slow_reader_gets_everything_and_stops_nobody(loaded: Service) -> None:
    text = json.loads(body("chat", Scenario("slow", "", 1, 60, 5)))
    with loaded.send(CHAT, text) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        received = b""
        while b"[DONE]" not in received:
            data = sock.recv(512)
            assert data
            received += data
            if len(received) < 5_000:
                assert ask(loaded, 2) < 2
        assert received.count(b'"content":"') >= 60


HALVES = {
    "nothing": b"",
    "half a line": b"POST /v1/chat/comp",
    "half a head": b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b\r\n",
    "half a body": b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{",
}


@pytest.mark.parametrize("half", list(HALVES))
def test_a_flood_of_half_open_connections_stops_no_honest_one(loaded: Service, half: str) -> None:
    with ExitStack() as stack:
        for _ in range(500):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", loaded.port), timeout=patient(10)))
            sock.sendall(HALVES[half])
        assert min(ask(loaded, 5) for _ in range(3)) < patient(2)
        began = time.monotonic()
        assert loaded.get("/health").status == 200
        assert time.monotonic() - began < patient(1)
