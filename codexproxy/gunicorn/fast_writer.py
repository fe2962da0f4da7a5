"""The server's side of a connection: gevent's, with a shorter way to write, and limits for clients that do not read."""

import errno
import socket as system
import ssl
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gevent.server import StreamServer
from gevent.socket import socket
from gevent.ssl import SSLSocket
from gunicorn.http.wsgi import Response

from codexproxy.gunicorn.drain_body import can_go_on
from codexproxy.server.path_aliases import WsgiApp


@dataclass(frozen=True, slots=True)
class Address:
    """What gunicorn asks a listener for when a connection is served; known also when the listener is closed.

    A stop may close it between a connection's acceptance and its first look at the request.
    """

    name: Any

    def getsockname(self) -> Any:
        """Where the listener is, or was, bound."""
        return self.name


class ClientStalled(BrokenPipeError):
    """A client does not read, or not fast enough; its connection is cut."""

    def __init__(self) -> None:
        super().__init__(errno.EPIPE, "the client does not read")


@dataclass(frozen=True, slots=True)
class SendLimits:
    """How long a client may take to read, in seconds.

    Attributes:
        stall: Without reading anything.
        total: For one write, which may be a whole answer.
    """

    stall: float = 60.0
    total: float = 600.0


class ClientSocket(socket):  # type: ignore[misc]
    """A client's connection.

    gevent's ``sendall`` asks the kernel for the size of its buffer before every
    write, and goes three calls deep; nearly always all is sent at once.
    """

    limits = SendLimits()

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Sends everything.

        Raises:
            ClientStalled: The client takes too long to read it.
        """
        try:
            sent = self._sock.send(data, flags)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            _send_within(self, memoryview(data)[sent:], self.limits)


class ClientTlsSocket(SSLSocket):  # type: ignore[misc]
    """A client's connection over TLS."""

    limits = SendLimits()

    def sendall(self, data: Any, flags: int = 0) -> None:
        """See ``ClientSocket.sendall``."""
        _send_within(self, memoryview(data), self.limits)


def _send_within(sock: Any, left: memoryview, limits: SendLimits) -> None:
    end, before = time.monotonic() + limits.total, sock.timeout
    try:
        while left:
            # Of 0 it would not wait at all.
            sock.timeout = max(0.001, min(limits.stall, end - time.monotonic()))
            left = left[sock.send(left) :]
            if left and time.monotonic() >= end:
                raise TimeoutError
    except (TimeoutError, ClientStalled):
        # What the kernel still holds for it is not waited for, either.
        with suppress(OSError):
            sock.setsockopt(system.SOL_SOCKET, system.SO_LINGER, struct.pack("ii", 1, 0))
        raise ClientStalled from None
    finally:
        sock.timeout = before


class ClientServer(StreamServer):  # type: ignore[misc]
    """Accepts connections as ``ClientSocket``s or, with TLS, ``ClientTlsSocket``s.

    Args:
        listener: See gevent's own, as for all other arguments.
        limits: For clients that do not read.
    """

    def __init__(self, listener: Any, *args: Any, limits: SendLimits = SendLimits(), **options: Any) -> None:
        context: ssl.SSLContext | None = options.get("ssl_context")
        if context is not None:
            context.sslsocket_class = type("LimitedTlsSocket", (ClientTlsSocket,), {"limits": limits})
        self._limits = limits
        super().__init__(listener, *args, **options)

    def do_read(self) -> Any:
        """One accepted connection and its address; None when there is none after all."""
        accepted = super().do_read()
        if accepted is None:
            return None
        sock, address = accepted
        client = ClientSocket(sock.family, sock.type, sock.proto, fileno=sock.detach())
        client.limits = self._limits
        return client, address


class ClientResponse(Response):  # type: ignore[misc]
    """gunicorn's response with fewer writes, and a shorter way to each.

    gunicorn writes the head and the first piece of the body one after the other, and goes
    five calls deep for each piece of a stream to make it an HTTP chunk (RFC 9112 §7.1).
    """

    req: Any
    sock: Any
    headers_sent: bool

    def send_headers(self) -> None:
        """Sends the head; it says when the connection ends, since the request's body was refused."""
        if not self.headers_sent and not can_go_on(self.req):
            self.force_close()
        super().send_headers()

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
