"""Clients that do not read, or only drop by drop, are cut, and all that was held for them is free again."""

import json
import socket
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from codexproxy.simulator import recipes
from codexproxy.simulator.client import SimulatorClient
from codexproxy.storage.sqlite.ledger import Ledger, TurnRecord
from tests.patience import patient
from tests.server.talk import MODEL
from tests.service import Service, wait_until

Json = dict[str, Any]
Serve = Callable[..., Service]

CHAT: Json = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
RESPONSE: Json = {"model": MODEL, "input": "hi"}
# More than the kernel's buffers between us and a client can hold.
FLOOD = recipes.flood(60, text="word " * 40_000)
STREAMS = {
    "chat": ("/v1/chat/completions", {**CHAT, "stream": True}, {}),
    "two answers": ("/v1/chat/completions", {**CHAT, "stream": True, "n": 2}, {}),
    "completion": ("/v1/completions", {"model": MODEL, "prompt": "hi", "stream": True}, {}),
    "response": ("/v1/responses", {**RESPONSE, "stream": True}, {}),
    "response of nobody": ("/v1/responses", {**RESPONSE, "stream": True, "store": False}, {}),
}


def narrow(service: Service, method: str, path: str, body: Json | None = None) -> socket.socket:
    """Sends a request on a connection with small buffers, and reads nothing."""
    data = b"" if body is None else json.dumps(body).encode()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(patient())
    sock.connect(("127.0.0.1", service.port))
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n\r\n"
    sock.sendall(head.encode() + data)
    return sock


class Dripping:
    """A client that reads a little ten times a second, until its connection is cut."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._enough.set()
        self._thread.join()

    def _read(self) -> None:
        with suppress(OSError):
            while not self._enough.wait(0.1) and self._sock.recv(8192):
                pass


def sockets(service: Service) -> int:
    """How many sockets its worker has open."""
    links = Path(f"/proc/{service.worker()}/fd").iterdir()
    return sum(str(link.readlink()).startswith("socket:") for link in links if link.is_symlink())


def rows(service: Service) -> list[TurnRecord]:
    """The turns in its ledger."""
    ledger = Ledger(service.data_dir / "ledger.sqlite3")
    try:
        return ledger.newest(100)
    finally:
        ledger.close()


def freed(service: Service, sim: SimulatorClient, turns: int) -> None:
    """Waits until the place, the upstream stream and the ledger know that so many turns are over."""
    wait_until(lambda: sim.counters()["open_streams"] == 0, "the end of the turn upstream")
    assert service.post("/v1/chat/completions", CHAT).status == 200
    wait_until(lambda: len(rows(service)) == turns + 1, "the rows of the ledger")


@pytest.mark.parametrize("kind", STREAMS)
def test_a_client_that_does_not_read_its_stream_gives_its_place_back(
    serve: Serve, sim: SimulatorClient, kind: str
) -> None:
    path, body, environ = STREAMS[kind]
    service = serve(SEND_TIMEOUT_SECONDS="0.5", CODEX_MAX_PARALLEL_REQUESTS="2", **environ)
    sim.script(FLOOD, repeat=2 if "n" in body else 1)
    with narrow(service, "POST", path, body):
        sim.wait_for(lambda counters: counters["open_streams"] > 0)
        freed(service, sim, 1)
        assert rows(service)[-1].status == 499


@pytest.mark.parametrize("kind", STREAMS)
def test_a_client_that_reads_its_stream_drop_by_drop_is_cut_at_the_turns_total_limit(
    serve: Serve, sim: SimulatorClient, kind: str
) -> None:
    path, body, environ = STREAMS[kind]
    service = serve(CODEX_TIMEOUT=f"{patient(2):g}", CODEX_MAX_PARALLEL_REQUESTS="2", **environ)
    sim.script(FLOOD, repeat=2 if "n" in body else 1)
    with narrow(service, "POST", path, body) as sock, Dripping(sock):
        sim.wait_for(lambda counters: counters["open_streams"] > 0)
        freed(service, sim, 1)


@pytest.mark.parametrize("fields", [{"background": True}, {}], ids=["in the background", "to be resumed"])
def test_a_stored_stream_that_nobody_reads_is_made_to_its_end_and_its_reader_cut(
    serve: Serve, sim: SimulatorClient, fields: Json
) -> None:
    service = serve(SEND_TIMEOUT_SECONDS="0.5", CODEX_RESUME_GRACE_SECONDS="60", CODEX_MAX_PARALLEL_REQUESTS="1")
    before = sockets(service)
    sim.script(FLOOD)
    with narrow(service, "POST", "/v1/responses", {**RESPONSE, **fields, "stream": True}):
        wait_until(lambda: sim.turns(), "the turn upstream")
        freed(service, sim, 1)
        wait_until(lambda: sockets(service) <= before + 1, "the end of the connection")
        assert [row.status for row in rows(service)] == [200, 200]


@pytest.mark.parametrize("limit", [{"SEND_TIMEOUT_SECONDS": 0.5}, {"CODEX_TIMEOUT": 4}], ids=["nothing", "drops"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "stored", "resumed"])
def test_a_whole_answer_that_is_not_read_does_not_hold_its_connection(
    serve: Serve, sim: SimulatorClient, path: str, limit: dict[str, float]
) -> None:
    service = serve(**{name: f"{patient(seconds):g}" for name, seconds in limit.items()})
    service.post(path if path.startswith("/") else "/v1/responses", {**CHAT, **RESPONSE})
    sim.script(FLOOD)
    method, body = "POST", CHAT if "chat" in path else RESPONSE
    if not path.startswith("/"):
        method, body = "GET", None
        id = service.post("/v1/responses", RESPONSE).json["id"]
        path = f"/v1/responses/{id}" + ("?stream=true" if path == "resumed" else "")
    before = sockets(service)
    with narrow(service, method, path, body) as sock:
        wait_until(lambda: sock.recv(1, socket.MSG_PEEK), "the beginning of the answer")
        with Dripping(sock) if "CODEX_TIMEOUT" in limit else nullcontext():
            wait_until(lambda: sockets(service) <= before, "the end of the connection")


def test_who_reads_slowly_but_reads_gets_everything(serve: Serve, sim: SimulatorClient) -> None:
    service = serve(SEND_TIMEOUT_SECONDS="0.5")
    sim.script(FLOOD)
    with narrow(service, "POST", "/v1/chat/completions", {**CHAT, "stream": True}) as sock:
        received = bytearray()
        while not received.endswith(b"0\r\n\r\n"):
            received += sock.recv(262_144)
    assert received.count(b"word ") > 59 * 40_000 and b"data: [DONE]" in received
