"""A body that nobody reads holds nobody up."""

import http.client
import io
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import pytest
from gunicorn.http.errors import InvalidChunkSize

from codexproxy.web.serving.leftovers import SILENCE, discard_rest
from tests.service import Service

BITE = b"x" * 1024 * 1024


@contextmanager
def ample_time() -> Iterator[None]:
    yield


class BrokenBody:
    """Raises instead of more bytes."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def read(self, size: int) -> bytes:
        raise self._error


class SilentBody:
    """Waits for bytes that do not come."""

    def read(self, size: int) -> bytes:
        gevent.sleep(3_600)
        return b""


class EndlessBody:
    """Never comes to its end."""

    def read(self, size: int) -> bytes:
        return b"x"


def test_the_rest_is_read_to_its_end() -> None:
    body = io.BytesIO(BITE * 3)
    assert discard_rest(body, ample_time())
    assert body.read() == b""


@pytest.mark.parametrize("error", [ConnectionResetError(), InvalidChunkSize(b"zz")])
def test_a_rest_that_cannot_be_read_ends_the_connection(error: Exception) -> None:
    assert not discard_rest(BrokenBody(error), ample_time())


def test_a_rest_that_does_not_end_is_given_up() -> None:
    assert not discard_rest(EndlessBody(), gevent.Timeout(0.05, False))


def test_a_rest_of_which_nothing_comes_is_given_up_sooner() -> None:
    began = time.monotonic()
    assert not discard_rest(SilentBody(), gevent.Timeout(60, False))
    assert time.monotonic() - began < SILENCE + 2


def send_head(service: Service, size: int, *more: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", service.port), timeout=20)
    head = ["POST /v1/responses HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {size}", *more, "", ""]
    client.sendall("\r\n".join(head).encode())
    return client


@pytest.mark.parametrize("closing", [False, True])
def test_a_refused_giant_reads_its_answer_and_holds_nobody_up(serve, closing: bool) -> None:
    service = serve(MAX_BODY_BYTES="1000")
    with send_head(service, 100 * len(BITE), *(["Connection: close"] if closing else [])) as client:
        for _ in range(100):
            client.sendall(BITE)
        began = time.monotonic()
        assert service.get("/health").status == 200
        assert time.monotonic() - began < 1
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert (answer.status, json.loads(answer.read())["error"]["code"]) == (413, "body_too_large")
        if not closing:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            again = http.client.HTTPResponse(client)
            again.begin()
            assert again.status == 200
