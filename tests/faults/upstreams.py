"""Upstreams that cannot be talked to, each in its own way."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from tests.codex_cli.certificates import make_certificate

# Too long for any name server, so the look-up fails on this machine already.
NAMELESS = ".".join(["a" * 63] * 4) + ".invalid"

LOOPBACK = ("127.0.0.1", 0)


@contextmanager
def bad_upstreams(folder: Path, simulator: str) -> Iterator[dict[str, str]]:
    """Name -> base URL of each.

    Args:
        folder: Where a certificate is made.
        simulator: Base URL of a server that waits for an HTTP request.
    """
    with ExitStack() as stack:
        yield {
            "nameless": f"https://{NAMELESS}",
            "refusing": f"http://127.0.0.1:{stack.enter_context(_refusing())}",
            "deaf": f"http://127.0.0.1:{stack.enter_context(_deaf())}",
            "forged": f"https://127.0.0.1:{stack.enter_context(_forged(folder))}",
            "plain": f"https://127.0.0.1:{stack.enter_context(_served(_speak_plainly))}",
            "mute": f"https://127.0.0.1:{urlsplit(simulator).port}",
        }


@contextmanager
def _refusing() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(LOOPBACK)
        yield holder.getsockname()[1]


@contextmanager
def _deaf() -> Iterator[int]:
    """Listens, and its queue of connections that nobody accepts is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(LOOPBACK)
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield listener.getsockname()[1]


@contextmanager
def _forged(folder: Path) -> Iterator[int]:
    made = make_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)

    def shake_hands(connection: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)

    with _served(shake_hands) as port:
        yield port


def _speak_plainly(connection: socket.socket) -> None:
    with suppress(OSError), connection:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


@contextmanager
def _served(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    def serve() -> None:
        with suppress(OSError):  # the end of the test
            while True:
                answer(listener.accept()[0])

    with socket.create_server(LOOPBACK) as listener:
        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        server.join()
