"""The server's side of a connection: gevent's, with a shorter way to write."""

from dataclasses import dataclass
from typing import Any

from gevent.server import StreamServer
from gevent.socket import socket


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
        sent = self.send(data, flags)
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
