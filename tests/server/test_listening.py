"""What is written to a client arrives whole, however slowly it is read."""

from collections.abc import Iterable, Iterator
from typing import Any

import gevent
import pytest
from gevent import socket
from gunicorn.config import Config
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.wsgi import Response

from codexproxy.gunicorn.fast_writer import Address, ClientServer, ClientSocket, answering_shortly
from tests.patience import patient

LARGE = bytes(range(256)) * 40_000


@pytest.fixture
def accepted() -> Iterator[tuple[ClientSocket, socket.socket]]:
    seen: list[ClientSocket] = []

    def handle(sock: ClientSocket, address: object) -> None:
        seen.append(sock)
        gevent.sleep(30)

    server = ClientServer(("127.0.0.1", 0), handle)
    server.start()
    client = socket.create_connection(server.address)
    with gevent.Timeout(5):
        while not seen:
            gevent.sleep(0.01)
    yield seen[0], client
    client.close()
    server.stop(timeout=0)


def test_connections_are_of_our_kind(accepted: tuple[ClientSocket, socket.socket]) -> None:
    sock, client = accepted
    assert type(sock) is ClientSocket
    assert sock.getpeername() == client.getsockname()


def test_a_small_write_arrives(accepted: tuple[ClientSocket, socket.socket]) -> None:
    sock, client = accepted
    sock.sendall(b"hello")
    sock.sendall(b"")
    assert client.recv(100) == b"hello"


def test_a_write_larger_than_all_buffers_arrives_whole(accepted: tuple[ClientSocket, socket.socket]) -> None:
    sock, client = accepted
    writing = gevent.spawn(sock.sendall, LARGE)
    gevent.sleep(0.05)
    assert not writing.ready()
    received = b""
    with gevent.Timeout(20):
        while len(received) < len(LARGE):
            received += client.recv(1 << 20)
    writing.get(timeout=patient(5))
    assert received == LARGE


def test_a_write_to_a_client_that_left_fails(accepted: tuple[ClientSocket, socket.socket]) -> None:
    sock, client = accepted
    client.close()
    with pytest.raises(OSError), gevent.Timeout(10):
        while True:
            sock.sendall(LARGE)


def test_an_address_outlives_its_listener() -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    name = listener.getsockname()
    address = Address(name)
    listener.close()
    assert address.getsockname() == name


class Recorder:
    """A socket that remembers its writes."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.writes.append(bytes(data))


class Asked:
    """As much of gunicorn's request as its response asks for."""

    method = "GET"
    version = (1, 1)
    body = Body(LengthReader(None, 0))

    def should_close(self) -> bool:
        return False


def written(pieces: list[bytes], headers: list[tuple[str, str]], *, method: str = "GET") -> list[bytes]:
    sock, asked = Recorder(), Asked()
    asked.method = method
    response = Response(asked, sock, Config())

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", headers)
        return pieces

    for piece in answering_shortly(app)({}, response.start_response):
        response.write(piece)
    response.close()
    return sock.writes


def test_the_head_leaves_with_the_first_piece_and_every_other_piece_by_itself() -> None:
    head, *rest = written([b"one", b"", b"three" * 4], [("Content-Type", "text/event-stream")])
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert head.endswith(b"\r\n\r\n3\r\none\r\n")
    assert b"Transfer-Encoding: chunked\r\n" in head
    assert rest == [b"14\r\n" + b"three" * 4 + b"\r\n", b"0\r\n\r\n"]


def test_a_body_of_known_length_is_no_longer_than_that() -> None:
    assert written([b"abc", b"defgh"], [("Content-Length", "5")])[0].endswith(b"\r\n\r\nabc")
    assert written([b"abc", b"defgh"], [("Content-Length", "5")])[1:] == [b"de"]


def test_an_answer_without_a_body_is_a_head_only() -> None:
    (head,) = written([b"abc"], [("Content-Length", "3")], method="HEAD")
    assert head.endswith(b"\r\n\r\n")


def test_another_server_writes_as_it_likes() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"x"]

    assert list(answering_shortly(app)({}, lambda status, headers: None)) == [b"x"]
