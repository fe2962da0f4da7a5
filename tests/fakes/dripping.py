"""A server that answers drop by drop: each byte comes in time, and all of them never do."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
LONG = b"x" * 1_000_000

# Where an answer may drip -> what comes at once, and what then comes byte by byte.
PLACES: dict[str, tuple[bytes, bytes]] = {
    "status line": (b"", b"HTTP/1.1 200 " + LONG),
    "head": (HEAD, b"x-drop: " + LONG),
    "early hints": (b"HTTP/1.1 103 Early Hints\r\n", b"link: " + LONG),
    "body": (HEAD + b"content-length: 1000000\r\n\r\n", LONG),
    "body without length": (HEAD + b"connection: close\r\n\r\n", LONG),
    "chunks": (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 100_000),
    "chunk size": (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1;" + LONG),
    "refusal": (b"HTTP/1.1 503 No\r\ncontent-length: 1000000\r\n\r\n", LONG),
}


class Dripping:
    """A server with a scripted voice.

    Args:
        at_once: What each connection hears as soon as it sent something.
        drops: What comes after it, byte by byte.
        pause: Seconds between two bytes.
    """

    def __init__(self, at_once: bytes, drops: bytes, pause: float = 0.05) -> None:
        self.at_once, self.drops, self._pause = at_once, drops, pause
        self.closed = threading.Event()
        self.asked = self.left = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def _start(self, work: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=work))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._start(lambda client=client: self._drip(client))  # type: ignore[misc]

    def _drip(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if not client.recv(65536):
                return
            self.asked += 1
            client.sendall(self.at_once)
            for drop in self.drops:
                if self.closed.wait(self._pause):
                    return
                client.sendall(bytes([drop]))
        self.left += 1

    @contextmanager
    def running(self) -> Iterator["Dripping"]:
        """Serves until the block ends."""
        self._start(self._accept)
        try:
            yield self
        finally:
            self.closed.set()
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            for thread in self._threads:
                thread.join()


@contextmanager
def dripping(place: str) -> Iterator[Dripping]:
    """A server that drips at one of ``PLACES``."""
    with Dripping(*PLACES[place]).running() as server:
        yield server
