"""The request parser: pure, fed in any pieces."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.simulator.http import BadRequest, Reader, Request, parse_head, read_request
from codexproxy.simulator.replies import LAST_CHUNK, chunk, json_reply, render_head

REQUEST = (
    b"POST /a%20b?x=1&y=&x=2 HTTP/1.1\r\nHost: h:1\r\nX-Two: a\r\nx-two: b\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\n"
)
NEXT = b"GET /next HTTP/1.1\r\nContent-Length: 2\r\n\r\nok"


class ScriptedSocket:
    """Hands out given pieces, one per read, then the end."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    def recv(self, size: int, /) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


def read(reader: Reader) -> Request | None:
    return read_request(reader, lambda interim: None)


@given(st.lists(st.integers(0, len(REQUEST + NEXT)), max_size=12))
def test_requests_are_the_same_however_they_arrive(cuts: list[int]) -> None:
    wire, edges = REQUEST + NEXT, [0, *sorted(cuts), len(REQUEST + NEXT)]
    reader = Reader(ScriptedSocket(wire[a:b] for a, b in itertools.pairwise(edges)))

    first, second, third = read(reader), read(reader), read(reader)

    assert first is not None and second is not None
    assert (first.path, first.query, first.body) == ("/a b", {"x": "2", "y": ""}, b"abcde")
    assert first.headers["x-two"] == "a, b"
    assert (second.path, second.body) == ("/next", b"ok")
    assert third is None


@given(st.integers(1, len(REQUEST) - 1))
def test_a_request_that_stops_in_the_middle_is_an_error(length: int) -> None:
    with pytest.raises(BadRequest):
        read(Reader(ScriptedSocket([REQUEST[:length]])))


@given(st.binary(max_size=300))
def test_rubbish_is_a_bad_request_and_nothing_else(rubbish: bytes) -> None:
    try:
        read(Reader(ScriptedSocket([rubbish])))
    except BadRequest as error:
        assert 400 <= error.status < 500


def test_too_long_a_head_is_refused() -> None:
    with pytest.raises(BadRequest) as caught:
        read(Reader(ScriptedSocket([b"GET / HTTP/1.1\r\n"] + [b"x: " + b"y" * 1000 + b"\r\n"] * 1000)))
    assert caught.value.status == 431


def test_too_large_a_body_is_refused_before_it_is_read() -> None:
    with pytest.raises(BadRequest) as caught:
        read(Reader(ScriptedSocket([b"POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n"])))
    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("head", "lives"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", True),
    ],
)
def test_connections_live_as_long_as_the_version_says(head: bytes, lives: bool) -> None:
    assert parse_head(head).keep_alive == lives


def test_answers_are_framed() -> None:
    assert render_head(299, [("a", "b")]) == b"HTTP/1.1 299 Unknown\r\na: b\r\n\r\n"
    assert chunk(b"x" * 17) == b"11\r\n" + b"x" * 17 + b"\r\n"
    assert chunk(b"") == b""
    assert LAST_CHUNK == b"0\r\n\r\n"
    reply = json_reply({"a": 1}).render(keep_alive=False)
    assert reply.endswith(b'content-length: 7\r\nconnection: close\r\n\r\n{"a":1}')
