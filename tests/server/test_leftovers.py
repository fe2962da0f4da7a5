"""A body that nobody reads holds nobody up."""

import http.client
import io
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import gevent
import pytest
from gevent import socket as gevent_socket
from gunicorn.config import Config

from codexproxy.gunicorn.bounded_parser import ClientParser, ClientRequest
from codexproxy.gunicorn.drain_body import SMALL_CHUNKS, SMALL_REST, can_go_on, linger, skip_rest
from codexproxy.gunicorn.idle_connections import IdleConnections
from tests.patience import patient
from tests.service import Service

BITE = b"x" * 1024 * 1024


class Sender:
    """A client's socket with everything that was sent, in packets of 8 KiB and less."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)
        self.taken = 0

    def recv(self, size: int) -> bytes:
        data = self._stream.read(min(size, 8192))
        self.taken += len(data)
        return data


def asked(framing: str, body: bytes) -> tuple[ClientRequest, Sender]:
    head = f"POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n".encode()
    sender = Sender(head + body)
    return next(ClientParser(Config(), sender, ("127.0.0.1", 1), nullcontext)), sender  # type: ignore[arg-type]


CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("X-A: b", b""),
        ("Content-Length: 0", b""),
        ("Content-Length: 5", b"12345"),
        (f"Content-Length: {SMALL_REST}", bytes(SMALL_REST)),
        (CHUNKED, b"0\r\n\r\n"),
        (CHUNKED, b"5\r\n12345\r\n" * 100 + b"0\r\nX-A: b\r\n\r\n"),
    ],
)
def test_a_small_body_that_nobody_wants_is_read_away(framing: str, body: bytes) -> None:
    request, _ = asked(framing, body)
    assert can_go_on(request) and skip_rest(request.body)
    assert can_go_on(request) and skip_rest(request.body)
    assert request.body.read() == b""


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (f"Content-Length: {SMALL_REST + 1}", bytes(SMALL_REST + 1)),
        ("Content-Length: 5\r\nExpect: 100-continue", b""),
        (f"{CHUNKED}\r\nExpect: 100-continue", b""),
    ],
)
def test_a_body_that_is_large_or_may_not_come_ends_the_connection_unread(framing: str, body: bytes) -> None:
    request, sender = asked(framing, body)
    assert not can_go_on(request)
    assert sender.taken <= 8192


@pytest.mark.parametrize("body", [b"1\r\nx\r\n" * 100_000, b"zz\r\n", b"5\r\n123", b""])
def test_chunks_that_are_many_or_broken_end_the_connection(body: bytes) -> None:
    request, sender = asked(CHUNKED, body)
    assert not skip_rest(request.body)
    assert sender.taken <= 3 * SMALL_CHUNKS


def test_a_body_that_was_cut_short_ends_the_connection() -> None:
    request, _ = asked("Content-Length: 10", b"12345")
    assert can_go_on(request) and not skip_rest(request.body)


@contextmanager
def connected() -> Iterator[tuple[Any, Any]]:
    ours, theirs = gevent_socket.socketpair()
    with closing(ours), closing(theirs):
        yield ours, theirs


def test_a_client_that_is_refused_may_finish_what_it_sends() -> None:
    with connected() as (ours, theirs):
        lingering = gevent.spawn(linger, ours, IdleConnections(60).waiting())
        for _ in range(50):
            theirs.sendall(BITE)
        assert theirs.recv(1) == b""
        theirs.close()
        lingering.get(timeout=patient(10))


def test_a_client_that_is_refused_may_not_send_for_ever() -> None:
    with connected() as (ours, theirs):

        def send() -> None:
            while True:
                theirs.sendall(BITE)

        sending = gevent.spawn(send)
        with gevent.Timeout(10):
            linger(ours, IdleConnections(0.05).waiting())
        sending.kill()


def send_head(service: Service, size: int, *more: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", service.port), timeout=patient(20))
    head = ["POST /v1/responses HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {size}", *more, "", ""]
    client.sendall("\r\n".join(head).encode())
    return client


@pytest.mark.parametrize("closing", [False, True])
def test_a_refused_giant_reads_its_answer_and_holds_nobody_up(serve, closing: bool) -> None:
    # With a key, since without one a connection that is to be closed counts as that of a proxy.
    service = serve(MAX_BODY_BYTES="1000", PROXY_API_KEY="the-key-of-the-owner")
    lines = ["Authorization: Bearer the-key-of-the-owner", *(["Connection: close"] if closing else [])]
    with send_head(service, 100 * len(BITE), *lines) as client:
        for _ in range(100):
            client.sendall(BITE)
        began = time.monotonic()
        assert service.get("/health").status == 200
        assert time.monotonic() - began < patient(1)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert (answer.status, answer.getheader("Connection")) == (413, "close")
        assert json.loads(answer.read())["error"]["code"] == "body_too_large"
        assert client.recv(1) == b""


def test_the_connection_of_a_small_refused_body_goes_on(serve) -> None:
    service = serve(MAX_BODY_BYTES="1000")
    with send_head(service, 2000) as client:
        for status, sent in ((413, b"x" * 2000), (200, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")):
            client.sendall(sent)
            answer = http.client.HTTPResponse(client)
            answer.begin()
            answer.read()
            assert answer.status == status
