"""Upstreams that announce an answer before it, or send one that nobody asked for."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.server.talk import MODEL
from tests.service import Service, wait_until

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

Serve = Callable[..., Service]


def answer(text: str) -> bytes:
    """A whole answer of upstream."""
    done = {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    events = [
        {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {
            "type": "response.completed",
            "response": {"id": "resp_1", "status": "completed", "output": [done], "usage": usage},
        },
    ]
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


class Upstream:
    """Says its lines: one per turn, on whichever connection it comes; connections are counted."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.used: list[int] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                self._threads.append(threading.Thread(target=self._serve, args=(client, len(self._open))))
                self._threads[-1].start()

    def _serve(self, client: socket.socket, number: int) -> None:
        with client, suppress(OSError), client.makefile("rb") as requests:
            while line := requests.readline():
                length = 0
                while (header := requests.readline()).strip():
                    name, _, value = header.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                requests.read(length)
                if line.startswith(b"POST"):
                    self.used.append(number)
                    client.sendall(self.lines.pop(0))
                else:
                    client.sendall(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n")

    def close(self) -> None:
        """Ends it, and all its connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._open:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    found = Upstream()
    yield found
    found.close()


@pytest.fixture
def facing(upstream: Upstream, sim: SimulatorClient, tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path, sim, CODEX_BACKEND_URL=upstream.url) as service:
        yield service


def said(service: Service) -> str:
    answer = service.post("/v1/chat/completions", CHAT)
    assert answer.status == 200, answer.body
    return str(answer.json["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    "before", [HINTS, PROCESSING, CONTINUE, CONTINUE + HINTS + PROCESSING + HINTS], ids=["103", "102", "100", "several"]
)
@pytest.mark.parametrize("stream", [False, True])
def test_informational_answers_are_skipped(facing: Service, upstream: Upstream, before: bytes, stream: bool) -> None:
    upstream.lines = [before + answer("hello"), before + answer("again")]
    for text in (b"hello", b"again"):
        found = facing.post("/v1/chat/completions", {**CHAT, "stream": stream})
        assert found.status == 200 and text in found.body
    assert upstream.used[0] == upstream.used[1]


def test_nothing_but_informational_answers_is_a_failure(facing: Service, upstream: Upstream) -> None:
    upstream.lines = [HINTS * 10_000] * 4
    found = facing.post("/v1/chat/completions", CHAT)
    assert (found.status, found.code) == (502, "upstream_unavailable")


def test_an_answer_that_nobody_asked_for_reaches_nobody(facing: Service, upstream: Upstream) -> None:
    upstream.lines = [answer("first") + answer("nobody's"), answer("second"), answer("third")]
    assert said(facing) == "first"
    assert said(facing) == "second"
    assert said(facing) == "third"
    # The connection that was out of step was not used again, the next one was.
    assert upstream.used[0] != upstream.used[1] == upstream.used[2]


def test_an_answer_that_comes_while_its_connection_rests_reaches_nobody(facing: Service, upstream: Upstream) -> None:
    upstream.lines = [answer("first"), answer("second")]
    assert said(facing) == "first"
    resting = upstream._open[upstream.used[0] - 1]
    resting.sendall(answer("nobody's"))

    def arrived() -> bool:
        peer = f"{resting.getsockname()[1]:04X}"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(line[2].endswith(f":{peer}") and int(line[4].split(":")[1], 16) > 0 for line in lines)

    wait_until(arrived, "the arrival of the answer")
    assert said(facing) == "second"
    assert upstream.used[0] != upstream.used[1]
