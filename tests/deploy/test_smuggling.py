"""Nothing hides inside a request: whatever the framing, each turn has one answer, and it goes to whoever asked."""

import http.client
import io
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from codexproxy.simulator.client import RESPONSES, SimulatorClient
from tests.deploy.smoke import KEY
from tests.deploy.smuggling import HIDDEN, OPEN, Shape, head, length, shapes, turn
from tests.deploy.test_nginx import Deployment

SLOWEST, WAITING = 10.0, 1.0
SHAPES = list(shapes(KEY.encode()))


@dataclass(frozen=True, slots=True)
class Told:
    """One answer of a connection."""

    status: int
    body: bytes

    @property
    def text(self) -> str | None:
        """What the model said; None when it was not asked."""
        if self.status != 200 or not self.body.startswith(b"{"):
            return None
        choices = json.loads(self.body).get("choices")
        return choices[0]["message"]["content"] if choices else None


class Received(io.BytesIO):
    """All bytes of a connection, read as one answer after the other."""

    def makefile(self, mode: str) -> "Received":
        return self

    def close(self) -> None:
        """An answer's end is not the connection's."""

    flush = close


def told(data: bytes, method: str = "GET") -> list[Told]:
    """The answers in what a server sent; the method is that of the first request.

    Raises:
        http.client.HTTPException: It is not a row of whole answers.
    """
    received, answers = Received(data), []
    while received.tell() < len(data):
        response = http.client.HTTPResponse(received, method=method)  # type: ignore[arg-type]
        response.begin()
        method = "GET"
        answers.append(Told(response.status, response.read()))
    return answers


def send(connect: Callable[[], socket.socket], data: bytes, waits: bool = False) -> bytes:
    """Sends everything and returns what came until the server hung up, or waited for more where it may.

    Raises:
        TimeoutError: It did neither.
    """
    parts: list[bytes] = []
    with connect() as sock, suppress(TimeoutError) if waits else nullcontext():
        sock.settimeout(WAITING if waits else SLOWEST)
        with suppress(ConnectionError, ssl.SSLError):
            sock.sendall(data)
        with suppress(ConnectionError, ssl.SSLError):
            while part := sock.recv(65536):
                parts.append(part)
    return b"".join(parts)


class Front:
    """What requests are sent to, and what they are followed by.

    Args:
        connect: Opens a connection to it.
        sim: The upstream behind it.
        strict: Whether it speaks our error object always, and never goes on behind a body it could not read.
    """

    def __init__(self, connect: Callable[[], socket.socket], sim: SimulatorClient, strict: bool = False) -> None:
        self._connect, self._sim, self._strict = connect, sim, strict
        self._count = self._seen = 0
        for text in (OPEN, HIDDEN):
            sim.script({"text": f"to {text.decode()}"}, match=text.decode(), repeat=-1)

    def _canary(self) -> tuple[str, bytes]:
        self._count += 1
        text = f"canary-{self._count}."
        self._sim.script({"text": f"to {text}"}, match=text)
        body = turn(text.encode())
        return f"to {text}", head(KEY.encode(), length(len(body)), b"Connection: close") + body

    def _asked(self) -> list[str]:
        """What the upstream was asked since the last look."""
        turns = self._sim.requests(RESPONSES, after=self._seen)
        self._seen = max([self._seen, *(turn["number"] for turn in turns)])
        return [f"to {turn['json']['input'][-1]['content'][-1]['text']}" for turn in turns]

    def fault(self, shape: Shape) -> str:
        """What is wrong with the answers to a shape, and to whoever asks next; empty when all is well."""
        behind, bytes_behind = self._canary()
        other, bytes_of_other = self._canary()
        try:
            answers = told(send(self._connect, shape.data + bytes_behind, shape.waits), shape.method)
            others = told(send(self._connect, bytes_of_other))
        except TimeoutError:
            return "stalled"
        except http.client.HTTPException as error:
            return f"not a row of answers: {error!r}"
        return self._judge(shape, answers, behind) or self._judge_turns(answers, others, other)

    def _judge_turns(self, answers: list[Told], others: list[Told], other: str) -> str:
        texts, asked = [answer.text for answer in answers if answer.text], self._asked()
        if [answer.text for answer in others] != [other]:
            return f"somebody else got {others}"
        if asked != [*texts, other]:
            return f"the upstream was asked {asked}, answered was {texts}"
        return ""

    def _judge(self, shape: Shape, answers: list[Told], behind: str) -> str:
        statuses = [answer.status for answer in answers]
        texts = [answer.text for answer in answers if answer.text]
        if max(statuses, default=0) >= 500 or not (statuses or shape.waits):
            return f"statuses {statuses}: {answers[-1:]}"
        followed = shape.behind and not self._strict
        allowed = {f"to {OPEN.decode()}": shape.turns, f"to {HIDDEN.decode()}": followed, behind: True}
        if not all(allowed[text] for text in texts):
            return f"answers {texts}"
        if self._strict and not all(
            answer.status < 400 or b'"error":{"message":"' in answer.body for answer in answers
        ):
            return f"no error of ours: {answers}"
        if behind not in texts and statuses and statuses[-1] < 400 and not shape.closes:
            return f"statuses {statuses}: {answers}"
        return ""


@pytest.fixture
def deployment(tmp_path: Path, sim: SimulatorClient) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path, sim)
    yield deployment
    deployment.stop()


def faults(front: Front) -> list[str]:
    found = ((shape.name, front.fault(shape)) for shape in SHAPES)
    return [f"{name}: {fault}" for name, fault in found if fault]


def encrypted(deployment: Deployment) -> Callable[[], socket.socket]:
    """Opens connections to nginx."""
    context = deployment.nginx.trust()

    def connect() -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", deployment.nginx.port))
        return context.wrap_socket(sock, server_hostname="localhost")

    return connect


def test_nothing_is_smuggled_through_nginx(deployment: Deployment, sim: SimulatorClient) -> None:
    assert not (wrong := faults(Front(encrypted(deployment), sim))), "\n".join(wrong)


def test_what_nginx_cannot_read_gets_an_error_object(deployment: Deployment) -> None:
    key, size = KEY.encode(), length(0)
    asked = {
        "a long address": (414, head(key, size, first=b"POST /" + b"x" * 40_000 + b" HTTP/1.1")),
        "a long header": (400, head(key, size, b"X-A: " + b"b" * 40_000)),
        "a strange coding": (400, head(key, b"Transfer-Encoding: x")),
        "a strange version": (400, head(key, size, first=b"POST / HTTP/9.1")),
        "no address": (400, head(key, size, first=b"POST")),
    }
    for what, (status, data) in asked.items():
        (answer,) = told(send(encrypted(deployment), data))
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (status, "invalid_http"), what


def test_nothing_is_smuggled_into_gunicorn(deployment: Deployment, sim: SimulatorClient) -> None:
    port = deployment.service.port
    front = Front(lambda: socket.create_connection(("127.0.0.1", port)), sim, strict=True)
    assert not (wrong := faults(front)), "\n".join(wrong)
