"""The load source: an upstream that costs little, so that what is measured is the server in front of it.

One thread, one epoll, one heap of due moments. A request says in its prompt what it wants:
``load n=500 pace=20`` is 500 deltas, one every 20 ms; ``pace=0`` is flat out.
Run as ``python -m bench.source [PORT]``; prints its port and lives until its standard input closes.
"""

import heapq
import itertools
import json
import re
import select
import socket
import sys
import time
from functools import cache

from bench import frames
from codexproxy.simulator.catalogue import default_models

READ_SIZE = 262_144
BACKLOG = 4096
_WISH = re.compile(rb"load n=(\d+) pace=(\d+)")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@cache
def _flat_out(deltas: int) -> bytes:
    # Not stamped: the age of what waits in buffers says nothing about a server.
    body = b"".join([frames.delta(number, 10**15) for number in range(deltas)])
    return _HEAD + frames.opening() + body + frames.closing(deltas, f"{10**15} " * deltas)


@cache
def _models() -> bytes:
    body = json.dumps({"models": default_models()}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Connection:
    """One client of the source.

    Args:
        sock: A non-blocking socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b""
        self.unsent = b""
        self.sent_deltas = self.wanted = 0
        self.stamps: list[bytes] = []
        self.pace = self.due = 0.0

    def request(self) -> bytes | None:
        """Takes one whole request out of what was received."""
        end = self.received.find(b"\r\n\r\n") + 4
        if end < 4:
            return None
        length = _LENGTH.search(self.received, 0, end)
        end += int(length[1]) if length else 0
        if len(self.received) < end:
            return None
        request, self.received = self.received[:end], self.received[end:]
        return request

    def delta(self) -> bytes:
        """The next delta, stamped now; behind the last one, all that ends the answer."""
        stamp = time.monotonic_ns()
        data = frames.delta(self.sent_deltas, stamp)
        self.stamps.append(frames.STAMP % stamp)
        self.sent_deltas += 1
        if self.sent_deltas == self.wanted:
            data += frames.closing(self.wanted, b"".join(self.stamps).decode())
        return data


class Source:
    """The server.

    Args:
        port: Where to listen; 0 lets the system choose.
    """

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._epoll.register(sys.stdin, select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._due: list[tuple[float, int, Connection]] = []
        self._order = itertools.count()

    def run(self) -> None:
        """Serves until standard input closes."""
        while True:
            timeout = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for number, flags in self._epoll.poll(timeout):
                if number == self._listener.fileno():
                    self._accept()
                elif number == sys.stdin.fileno():
                    return
                else:
                    self._serve(self._connections[number], flags)
            self._tick()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[sock.fileno()] = Connection(sock)
            self._epoll.register(sock, select.EPOLLIN)

    def _serve(self, connection: Connection, flags: int) -> None:
        if flags & select.EPOLLOUT and connection.unsent:
            self._send(connection, b"")
        if not flags & ~select.EPOLLOUT:
            return
        try:
            data = connection.sock.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        connection.received += data
        while (request := connection.request()) is not None:
            self._answer(connection, request)

    def _answer(self, connection: Connection, request: bytes) -> None:
        # The last wish counts: a conversation may hold older ones.
        place = request.rfind(b"load n=")
        wish = _WISH.match(request, place) if place >= 0 else None
        if wish is None:
            self._send(connection, _models())
        elif wish[2] == b"0":
            self._send(connection, _flat_out(int(wish[1])))
        else:
            connection.wanted, connection.pace = int(wish[1]), int(wish[2]) / 1000
            connection.sent_deltas, connection.stamps = 0, []
            self._send(connection, _HEAD + frames.opening())
            self._plan(connection, time.monotonic())

    def _plan(self, connection: Connection, due: float) -> None:
        connection.due = due
        heapq.heappush(self._due, (due, next(self._order), connection))

    def _tick(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, _, connection = heapq.heappop(self._due)
            if connection.sock.fileno() < 0:
                continue
            self._send(connection, connection.delta())
            if connection.sent_deltas < connection.wanted:
                self._plan(connection, connection.due + connection.pace)

    def _send(self, connection: Connection, data: bytes) -> None:
        data = connection.unsent + data if connection.unsent else data
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(connection)
            return
        waited = bool(connection.unsent)
        connection.unsent = data[sent:]
        if waited != bool(connection.unsent):
            wanted = select.EPOLLIN | select.EPOLLOUT if connection.unsent else select.EPOLLIN
            self._epoll.modify(connection.sock, wanted)

    def _close(self, connection: Connection) -> None:
        number = connection.sock.fileno()
        if number >= 0:
            self._epoll.unregister(number)
            del self._connections[number]
            connection.sock.close()


def main() -> None:
    """Serves as a process of its own."""
    source = Source(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(source.port, flush=True)
    source.run()


if __name__ == "__main__":
    main()
