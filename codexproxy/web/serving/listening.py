"""The server's side of a connection: gevent's, with a shorter way to write."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gevent.server import StreamServer
from gevent.socket import socket
from gunicorn.http.wsgi import Response

from codexproxy.web.paths import WsgiApp


@dataclass(frozen=True, slots=True)
class Address:
    """What gunicorn asks a listener for when a connection is served; known also when the listener is closed.

    A stop may close it between a connection's acceptance and its first look at the request.
    """

    name: Any

    def getsockname(self) -> Any:
        """Where the listener is, or was, bound."""
        return self.name


class ClientSocket(socket):  # type: ignore[misc]
    """A client's connection.

    gevent's ``sendall`` asks the kernel for the size of its buffer before every
    write, and goes three calls deep; nearly always all is sent at once.
    """

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Sends everything, however long the client takes to read it."""
        try:
            sent = self._sock.send(data, flags)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            super().sendall(memoryview(data)[sent:], flags)


class ClientServer(StreamServer):  # type: ignore[misc]
    """Accepts connections as ``ClientSocket``s."""

    def do_read(self) -> Any:
        """One accepted connection and its address; None when there is none after all."""
        accepted = super().do_read()
        if accepted is None:
            return None
        sock, address = accepted
        return ClientSocket(sock.family, sock.type, sock.proto, fileno=sock.detach()), address


class ClientResponse(Response):  # type: ignore[misc]
    """gunicorn's response with fewer writes, and a shorter way to each.

    gunicorn writes the head and the first piece of the body one after the other, and goes
    five calls deep for each piece of a stream to make it an HTTP chunk (RFC 9112 §7.1).
    """

    sock: Any

    def write(self, piece: bytes) -> None:
        """Sends one piece of the body, the first together with the head."""
        if not self.headers_sent:
            self._begin(piece)
        elif self.chunked and piece:
            self.sent += len(piece)
            self.sock.sendall(b"%X\r\n%b\r\n" % (len(piece), piece))
        else:
            super().write(piece)

    def _begin(self, piece: bytes) -> None:
        sock, held = self.sock, _Held()
        self.sock = held
        try:
            super().write(piece)
        finally:
            self.sock = sock
        sock.sendall(b"".join(held))


class _Held(list[bytes]):
    # Stands in for the socket until the first piece is there.
    sendall = list.append


def answering_shortly(app: WsgiApp) -> WsgiApp:
    """An application whose responses are written by ``ClientResponse``, where the server is gunicorn."""

    def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        response = getattr(start_response, "__self__", None)
        if type(response) is Response:
            response.__class__ = ClientResponse
        return app(environ, start_response)

    return call
