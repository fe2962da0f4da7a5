"""What is written to a client arrives whole, however slowly it is read."""

from collections.abc import Iterator

import gevent
import pytest
from gevent import socket

from codexproxy.web.listening import Address, ClientServer, ClientSocket

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
    writing.get(timeout=5)
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
