"""Thousands of malformed requests over kept connections: a 4xx in our form or a correct answer, never a 5xx."""

import gzip
import http.client
import json
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import zstandard

from codexproxy.simulator import recipes
from codexproxy.simulator.client import SimulatorClient
from tests.load.malformed import cases
from tests.service import Service

SLOWEST = 5.0


class Asker:
    """Sends requests over one connection, and tells when it had to be made anew."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._connection = service.connect()
        self.connections = 1

    def ask(self, route: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, bytes, float]:
        began = time.monotonic()
        self._connection.request("POST", route, body, {"content-type": "application/json", **(headers or {})})
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.will_close:
            self._connection = self._service.connect()
            self.connections += 1
        return answer.status, data, time.monotonic() - began


@pytest.fixture
def asker(service: Service) -> Asker:
    return Asker(service)


def fault(status: int, data: bytes, took: float) -> str:
    """What is wrong with an answer; empty when it is right."""
    if took > SLOWEST:
        return f"took {took:.1f} s"
    if status == 200 and data.startswith((b"data: ", b"event: ")):
        # ``stream`` was what was wrong.
        return "" if b"[DONE]" in data or b"event: response.completed" in data else f"a broken stream: {data[-200:]!r}"
    if status == 200:
        return "" if json.loads(data).get("error") is None else f"an error in a 200: {data[:200]!r}"
    if not 400 <= status < 500:
        return f"status {status}: {data[:200]!r}"
    error = json.loads(data)["error"]
    told = error["message"] and error["type"] and {"message", "type", "param", "code"} <= set(error)
    return "" if told else f"not our error object: {data[:200]!r}"


def test_every_position_of_a_request_may_be_wrong(asker: Asker, sim: SimulatorClient) -> None:
    sim.script(recipes.say('{"city": "x"}'), repeat=-1)
    statuses: Counter[int] = Counter()
    faults = []
    for route, what, text in cases():
        status, data, took = asker.ask(route, text.encode("utf-8", "surrogatepass"))
        statuses[status] += 1
        if problem := fault(status, data, took):
            faults.append(f"{route} {what}: {problem}")
    assert not faults, "\n".join(faults[:20]) + f"\n… {len(faults)} in all"
    assert statuses.total() >= 2_000
    assert statuses[200] > 100
    assert statuses[400] > 1_000
    # A refusal is no reason to hang up.
    assert asker.connections < 20


def many(name: str, value: str, times: int) -> dict[str, str]:
    return {f"{name}-{number}": value for number in range(times)}


@pytest.mark.parametrize(
    "headers",
    [
        {"content-encoding": "gzip"},
        {"content-encoding": "zstd"},
        {"content-encoding": "deflate, gzip"},
        {"content-encoding": "nonsense"},
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=utf-16"},
        {"x-request-id": "x" * 5_000},
        {"x-request-id": "\x7f\x80\xff"},
        {"session_id": "a,b,c" * 100},
        {"session-id": "\xff" * 80},
        {"authorization": "Bearer"},
        {"authorization": "Basic " + "x" * 4_000},
        {"user-agent": "codex_cli_rs/" + "9" * 4_000},
        {"origin": "null"},
        {"origin": "http://[::1"},
        {"host": "127.0.0.1:99999"},
        {"x-forwarded-for": "," * 3_000},
        {"accept": "x" * 4_000},
        many("x-many", "y", 80),
        many("x-many", "y", 300),
        {"x-long": "y" * 40_000},
    ],
    ids=lambda headers: str(headers)[:40],
)
def test_headers_are_abused(service: Service, headers: dict[str, str]) -> None:
    body = json.dumps({"model": "gpt-5.2", "messages": [{"role": "user", "content": "hi"}]}).encode()
    status, data, took = Asker(service).ask("/v1/chat/completions", body, headers)
    assert fault(status, data, took) == ""


def raw_requests() -> Iterator[tuple[str, bytes]]:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    yield "no such method", b"BREW / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    yield "no version", b"GET /\r\n\r\n"
    yield "version nine", b"GET / HTTP/9.1\r\nHost: 127.0.0.1\r\n\r\n"
    yield "length and chunks", head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    yield "two lengths", head + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"
    yield "negative length", head + b"Content-Length: -1\r\n\r\n"
    yield "length in words", head + b"Content-Length: ten\r\n\r\n"
    yield "length with a sign", head + b"Content-Length: +2\r\n\r\n{}"
    yield "chunked twice", head + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"
    yield "strange coding", head + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"
    yield "bad chunk size", head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
    yield "space before colon", head + b"Content-Length : 2\r\n\r\n{}"
    yield "folded header", head + b"X-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}"
    yield "bare line feed", b"POST / HTTP/1.1\nHost: 127.0.0.1\n\n"
    yield "nul in a header", head + b"X-A: \x00\r\nContent-Length: 2\r\n\r\n{}"
    yield "no host", b"GET /v1/models HTTP/1.1\r\n\r\n"
    yield "two hosts", b"GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
    yield "absolute form", b"GET http://evil.example/v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    yield "dots in the path", b"GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    yield "bytes in the path", b"GET /\xff\xfe%00%zz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    yield "tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50


@pytest.mark.parametrize(("what", "data"), list(raw_requests()), ids=[what for what, _ in raw_requests()])
def test_what_is_no_proper_http_is_refused_in_our_form(service: Service, what: str, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=SLOWEST) as sock:
        sock.sendall(data)
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        assert 400 <= answer.status < 500, answer.status
        assert json.loads(answer.read())["error"]["message"]
    assert service.get("/health").status == 200


def test_a_client_that_speaks_tls_is_told_at_once(service: Service) -> None:
    context = ssl.create_default_context()
    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=SLOWEST) as sock,
        pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"),
    ):
        context.wrap_socket(sock, server_hostname="localhost")
    assert "TLS on a plain port" in service.log


def bombs() -> list[tuple[str, Callable[[], bytes]]]:
    return [
        ("gzip", lambda: gzip.compress(b"x" * 100_000_000, 9)),
        ("gzip, gzip", lambda: gzip.compress(gzip.compress(b"x" * 100_000_000, 9))),
        ("zstd", lambda: zstandard.compress(b"x" * 100_000_000)),
    ]


@pytest.mark.parametrize(("coding", "make"), bombs(), ids=[coding for coding, _ in bombs()])
def test_a_compressed_bomb_is_too_large(asker: Asker, coding: str, make: Callable[[], bytes]) -> None:
    status, data, took = asker.ask("/v1/chat/completions", make(), {"content-encoding": coding})
    assert (status, fault(status, data, took)) == (413, "")


def test_seventy_megabytes_are_too_many(service: Service) -> None:
    connection = service.connect()
    connection.putrequest("POST", "/v1/chat/completions")
    connection.putheader("Content-Length", str(70 * 2**20))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert json.loads(answer.read())["error"]["code"] == "body_too_large"
    connection.close()
