"""A relay between a real client and the service, which keeps what passed on the wire.

Bytes go through as they come, in both directions, ends of connections included;
they are taken apart only afterwards. So it changes nothing, and a client that
leaves in mid-stream leaves the service, too.
"""

import http.client
import io
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.patience import patient


@dataclass
class Exchange:
    """One request and its answer.

    Attributes:
        body: Of the answer; what came of it when the client left before its end.
        asked: The request's body.
    """

    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: bytes
    asked: bytes = b""


@dataclass
class _Talk:
    """One connection."""

    asked: bytearray = field(default_factory=bytearray)
    told: bytearray = field(default_factory=bytearray)
    sockets: list[socket.socket] = field(default_factory=list)


class Relay:
    """Listens on a port of its own and passes everything on to another one; a context manager."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._talks: list[_Talk] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    @property
    def base_url(self) -> str:
        """Where clients find the API."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> "Relay":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *raised: Any) -> None:
        # A blocked accept() ends at once when its socket is shut down, not when it is closed.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in [sock for talk in self._talks for sock in talk.sockets]:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target, timeout=patient(30))
            except OSError:
                return
            server.settimeout(None)
            talk = _Talk(sockets=[client, server])
            self._talks.append(talk)
            for source, sink, kept in ((client, server, talk.asked), (server, client, talk.told)):
                threading.Thread(target=_pump, args=(source, sink, kept), daemon=True).start()

    def exchanges(self) -> list[Exchange]:
        """What passed so far, connection by connection."""
        return [exchange for talk in self._talks for exchange in _exchanges(bytes(talk.asked), bytes(talk.told))]


def _pump(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
    try:
        while data := source.recv(65536):
            kept += data
            sink.sendall(data)
    except OSError:
        pass  # One side hung up without a goodbye; the other one hears of it below.
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class _Tape(io.BytesIO):
    """Recorded bytes in the role of a socket: it is read by several answers, one after the other."""

    def makefile(self, *args: Any) -> "_Tape":
        return self

    def close(self) -> None:
        """Stays open for the next answer."""


def _exchanges(asked: bytes, told: bytes) -> list[Exchange]:
    requests, answers, found = io.BytesIO(asked), _Tape(told), []
    while line := requests.readline().decode("latin-1"):
        method, path, _ = line.split(" ", 2)
        headers = http.client.parse_headers(requests)
        sent = requests.read(int(headers.get("content-length") or 0))
        assert headers.get("transfer-encoding") is None, "a client sent chunks; teach the relay to read them"
        if answers.tell() == len(told):
            break  # The client left before the first byte of an answer.
        answer = http.client.HTTPResponse(answers, method=method)  # type: ignore[arg-type]
        answer.begin()
        try:
            body = answer.read()
        except http.client.IncompleteRead as cut:
            body = cut.partial
        told_headers = {name.lower(): value for name, value in answer.getheaders()}
        found.append(Exchange(method, path, answer.status, told_headers, body, sent))
    return found
