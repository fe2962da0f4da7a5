"""Connections to upstream: one write per request, and how a dead one is noticed."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from threading import Thread
from typing import Any

import gevent.socket
import pytest

from codexproxy.upstream.chatgpt.connection import LARGEST_COPY, OneWrite
from tests.patience import patient


class CountedWrites:
    """A socket that notes what is written in one piece."""

    def __init__(self, sock: Any) -> None:
        self.written: list[bytes] = []
        self._sock = sock

    def send(self, data: bytes) -> int:
        self.written.append(bytes(data))
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def connected(listener: socket.socket) -> OneWrite:
    connection = OneWrite(*listener.getsockname(), timeout=patient(5))
    connection.connect()
    return connection


def test_a_request_is_one_write(listener: socket.socket) -> None:
    with closing(connected(listener)) as connection:
        connection.sock = sock = CountedWrites(connection.sock)
        connection.request("POST", "/turns", body=b'{"a": 1}', headers={"x-one": "1"})
        (written,) = sock.written
        head, _, body = written.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /turns HTTP/1.1\r\n") and b"Content-Length: 8" in head and b"x-one: 1" in head
        assert body == b'{"a": 1}'


def test_what_the_system_does_not_take_at_once_follows(listener: socket.socket) -> None:
    body = b"x" * 20_000_000
    taken: list[bytes] = []

    def upstream() -> None:
        sock, _ = listener.accept()
        with sock:
            while data := sock.recv(1 << 20):
                taken.append(data)

    serving = Thread(target=upstream)
    serving.start()
    with closing(connected(listener)) as connection:
        connection.request("POST", "/turns", body=body)
    serving.join(patient(10))
    assert b"".join(taken).endswith(b"\r\n\r\n" + body)


def test_a_large_body_is_not_copied(listener: socket.socket) -> None:
    body = b"x" * LARGEST_COPY
    with closing(connected(listener)) as connection:
        connection.sock = sock = CountedWrites(connection.sock)
        connection.request("POST", "/turns", body=body)
        assert len(sock.written) == 2 and sock.written[1] == body


def test_of_a_request_with_a_refused_header_nothing_is_written(listener: socket.socket) -> None:
    with closing(connected(listener)) as connection:
        connection.sock = sock = CountedWrites(connection.sock)
        with pytest.raises(ValueError, match="header"):
            connection.request("POST", "/turns", headers={"x-one": "a\r\nb: c"})
        assert sock.written == []


def test_a_tunnel_is_asked_for_before_the_request(listener: socket.socket) -> None:
    asked: list[bytes] = []

    def proxy() -> None:
        sock, _ = listener.accept()
        with sock:
            asked.append(sock.recv(65536))
            sock.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            asked.append(sock.recv(65536))
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    serving = Thread(target=proxy)
    serving.start()
    with closing(OneWrite(*listener.getsockname(), timeout=patient(5))) as connection:
        connection.set_tunnel("upstream.example", 80, scheme="http")
        connection.request("POST", "/turns", body=b"{}")
        assert connection.getresponse().data == b"ok"
    serving.join(patient(5))
    assert asked[0].startswith(b"CONNECT upstream.example:80 ")
    assert asked[1].startswith(b"POST /turns ") and asked[1].endswith(b"{}")


@pytest.mark.parametrize("connect", [socket.create_connection, gevent.socket.create_connection])
def test_an_idle_connection_is_alive_until_its_other_end_closes_it(
    listener: socket.socket, connect: Callable[..., Any]
) -> None:
    with closing(OneWrite(*listener.getsockname())) as connection:
        assert not connection.is_connected
        connection.sock = connect(listener.getsockname())
        other_end, _ = listener.accept()
        assert connection.is_connected and connection.is_connected
        other_end.close()
        deadline = time.monotonic() + patient(5)
        while connection.is_connected:
            assert time.monotonic() < deadline


@pytest.mark.parametrize("connect", [socket.create_connection, gevent.socket.create_connection])
def test_a_connection_that_was_told_something_unasked_is_not_used_again(
    listener: socket.socket, connect: Callable[..., Any]
) -> None:
    with closing(OneWrite(*listener.getsockname())) as connection:
        connection.sock = connect(listener.getsockname())
        other_end, _ = listener.accept()
        with other_end:
            other_end.sendall(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            deadline = time.monotonic() + patient(5)
            while connection.is_connected:
                assert time.monotonic() < deadline
