"""Bodies are read as they arrive: all at once what came at once, silence noticed."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import requests
from urllib3.util.wait import wait_for_read

from codexproxy.upstream.chatgpt.body import ChunkedBody, PlainBody, Wire, body_of
from tests.patience import patient

HEAD = b"HTTP/1.1 200 OK\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Peer:
    """A server that says on command what one request is answered with."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._greeted = threading.Event()
        self._socket: socket.socket | None = None

    def answer(self, head: bytes, first: bytes = b"", session: requests.Session | None = None) -> requests.Response:
        def serve() -> None:
            self._socket, _ = self._listener.accept()
            self._serve(HEAD + head + b"\r\n" + first)

        return self._ask(serve, session or requests.Session())

    def answer_again(self, head: bytes, first: bytes, session: requests.Session) -> requests.Response:
        """A second request, which has to come over the same connection."""
        return self._ask(lambda: self._serve(HEAD + head + b"\r\n" + first), session)

    def _serve(self, answer: bytes) -> None:
        assert self._socket is not None
        self._socket.recv(65536)
        self._socket.sendall(answer)
        self._greeted.set()

    def _ask(self, serve: Callable[[], None], session: requests.Session) -> requests.Response:
        self._greeted.clear()
        threading.Thread(target=serve, daemon=True).start()
        response = session.get(self.url, stream=True, timeout=patient(5))
        assert self._greeted.wait(patient(5))
        return response

    def say(self, data: bytes) -> None:
        assert self._socket is not None
        self._socket.sendall(data)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._listener.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


def wait(sock: socket.socket, seconds: float) -> bool:
    return wait_for_read(sock, seconds)


def test_the_private_attributes_the_reader_relies_on_are_there(peer: Peer) -> None:
    response = peer.answer(b"Transfer-Encoding: chunked\r\n", chunk(b"a"))
    wire = Wire(response.raw._fp.fp, wait)
    assert wire.socket.fileno() > 0
    assert isinstance(wire.buffered(), bytes)
    assert isinstance(body_of(response, wait), ChunkedBody)


def test_a_read_that_finds_nothing_after_all_is_silence(peer: Peer) -> None:
    response = peer.answer(b"Transfer-Encoding: chunked\r\n", chunk(b"a"))
    sock = response.raw._fp.fp.raw._sock
    sock.setblocking(False)
    body = body_of(response, lambda sock, seconds: True)
    assert body.read(5) == b"a"
    assert body.read(5) == b""
    peer.say(chunk(b"b"))
    assert wait(sock, 5)
    assert body.read(5) == b"b"


def test_all_chunks_that_came_together_are_one_read(peer: Peer) -> None:
    response = peer.answer(b"Transfer-Encoding: chunked\r\n", chunk(b"one ") + chunk(b"two ") + chunk(b"three"))
    body = body_of(response, wait)
    assert body.read(5) == b"one two three"
    peer.say(chunk(b"four") + b"0\r\n\r\n")
    assert body.read(5) == b"four"
    assert body.read(5) is None
    assert body.read(5) is None


def test_silence_is_noticed_and_harms_nothing(peer: Peer) -> None:
    body = body_of(peer.answer(b"Transfer-Encoding: chunked\r\n"), wait)
    assert body.read(0.05) == b""
    peer.say(chunk(b"a"))
    assert body.read(5) == b"a"
    assert body.read(0.05) == b""
    peer.say(b"0\r\n\r\n")
    assert body.read(5) is None


def test_a_connection_whose_body_was_read_to_its_end_is_used_again(peer: Peer) -> None:
    response = peer.answer(b"Transfer-Encoding: chunked\r\n", chunk(b"a") + b"0\r\n\r\n")
    body = body_of(response, wait)
    assert body.read(5) == b"a"
    assert body.read(5) is None
    assert response.raw._connection is None


def test_two_answers_come_over_one_connection(peer: Peer) -> None:
    with requests.Session() as session:
        response = peer.answer(b"Transfer-Encoding: chunked\r\n", chunk(b"a"), session)
        body = body_of(response, wait)
        assert body.read(5) == b"a"
        peer.say(b"0\r\nx-trailer: yes\r\n\r\n")
        assert body.read(5) is None
        response.close()
        second = peer.answer_again(b"Transfer-Encoding: chunked\r\n", chunk(b"b") + b"0\r\n\r\n", session)
        body = body_of(second, wait)
        assert (body.read(5), body.read(5)) == (b"b", None)


def test_a_connection_with_bytes_behind_the_body_is_not_used_again(peer: Peer) -> None:
    response = peer.answer(b"Transfer-Encoding: chunked\r\n", chunk(b"a") + b"0\r\n\r\nHTTP/1.1 200 OK\r\n")
    body = body_of(response, wait)
    assert (body.read(5), body.read(5)) == (b"a", None)
    connection = response.raw._connection
    response.close()
    assert connection.sock is None


def test_a_cut_in_a_chunk_is_an_error(peer: Peer) -> None:
    body = body_of(peer.answer(b"Transfer-Encoding: chunked\r\n", chunk(b"a") + b"5\r\nbc"), wait)
    assert body.read(5) == b"abc"
    peer.close()
    with pytest.raises(requests.RequestException):
        body.read(5)


def test_garbage_where_a_chunk_belongs_is_an_error(peer: Peer) -> None:
    body = body_of(peer.answer(b"Transfer-Encoding: chunked\r\n", chunk(b"a") + b"zz\r\nab\r\n"), wait)
    assert body.read(5) == b"a"
    with pytest.raises(requests.RequestException):
        body.read(5)


def test_a_body_that_ends_with_its_connection_arrives_in_pieces(peer: Peer) -> None:
    body = body_of(peer.answer(b"Connection: close\r\n", b"first"), wait)
    assert isinstance(body, PlainBody)
    assert body.read(5) == b"first"
    assert body.read(0.05) == b""
    peer.say(b"second")
    assert body.read(5) == b"second"
    peer.close()
    assert body.read(5) is None


def test_a_body_of_known_length_arrives_in_pieces_and_ends(peer: Peer) -> None:
    body = body_of(peer.answer(b"Content-Length: 6\r\n", b"abc"), wait)
    assert body.read(5) == b"abc"
    peer.say(b"def")
    assert body.read(5) == b"def"
    assert body.read(5) is None


def test_a_body_of_no_length_ends_at_once(peer: Peer) -> None:
    body = body_of(peer.answer(b"Content-Length: 0\r\n"), wait)
    # Silence would be b"", which is waited through until a time limit ends it.
    assert body.read(0.5) is None
