"""Commands send the owner's key to the owner's server, and to nobody who listens in its place."""

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from codexproxy.cli.support.local_server import LocalServer, ServerRefused, holders_of
from codexproxy.settings import Settings

KEY = "the-key-of-the-owner"


@contextmanager
def listening(host: str, heard: list[bytes]) -> Iterator[int]:
    """A program that waits for keys; its port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        thread = threading.Thread(target=_hear, args=(listener, heard))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _hear(listener: socket.socket, heard: list[bytes]) -> None:
    with suppress(OSError):  # as it ends
        while True:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


# Containers may have no IPv6.
HOSTS = ["127.0.0.1", "0.0.0.0", "localhost", *(["::", "::1"] if Path("/proc/net/if_inet6").exists() else [])]


@pytest.mark.parametrize("host", HOSTS)
def test_a_program_of_another_user_that_holds_the_port_is_sent_no_key(host: str) -> None:
    heard: list[bytes] = []
    with listening("127.0.0.1" if host == "localhost" else host, heard) as port:
        reached = LocalServer.of(Settings(host=host, port=port, api_key=KEY))
        stranger = LocalServer(reached.base_url, KEY, frozenset({os.geteuid() + 1}))
        with pytest.raises(
            ServerRefused, match=re.escape(f"another user (id {os.geteuid()}) listens at {reached.base_url}")
        ):
            stranger.get_json("/v1/models")
        assert heard == []
        # What is nobody's secret may be asked of anybody.
        assert LocalServer(reached.base_url, None, stranger.trusted).get_json("/health") == {}
        assert reached.get_json("/v1/models") == {}
    assert [KEY.encode() in request for request in heard] == [False, True]


def test_where_nobody_listens_nobody_holds_the_port() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        assert holders_of("127.0.0.1", port) == set()
        assert LocalServer(f"http://127.0.0.1:{port}", KEY, frozenset()).get_json("/health") is None


def test_a_listener_at_another_address_is_not_the_one_that_is_reached() -> None:
    with listening("127.0.0.2", []) as port:
        assert holders_of("127.0.0.1", port) == set()
        assert holders_of("127.0.0.2", port) == {os.geteuid()}
