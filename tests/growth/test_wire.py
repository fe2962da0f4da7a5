"""What a client sends costs a worker linear time and bounded memory, and holds nobody else up."""

import base64
import gzip
import http.client
import io
import json
import random
import resource
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from typing import Any

import gevent
import orjson
import pytest
import zstandard
from gevent import socket as gevent_socket
from gunicorn.config import Config
from gunicorn.http.errors import LimitRequestHeaders
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.errors import InvalidRequest
from codexproxy.gunicorn.bounded_parser import LONGEST_HEAD, MOST_FRAMING, ClientParser, ClientUnreader, SlowHead
from codexproxy.gunicorn.idle_connections import IdleConnections
from codexproxy.server.request_body.body import parse_object, receive
from codexproxy.server.request_body.content_encoding import unpack
from codexproxy.server.request_body.large_json import MOST_VALUES, NotJSON, loads, read_object
from codexproxy.simulator.client import SimulatorClient
from tests.growth.measuring import cost_of
from tests.patience import patient
from tests.service import Service

TIMES = (1, 2, 4, 8)
ADDRESS = ("127.0.0.1", 1)
KEY = {"PROXY_API_KEY": "a-key-that-nobody-guesses"}


class Client:
    """A client's socket that sends what it has, at most so many bytes at a time."""

    def __init__(self, data: bytes, most: int = 1 << 20) -> None:
        self._stream, self._most = io.BytesIO(data), most
        self.taken = self.reads = 0
        self.answers = b""

    def recv(self, size: int) -> bytes:
        data = self._stream.read(min(size, self._most))
        self.taken += len(data)
        self.reads += 1
        return data

    def sendall(self, data: bytes) -> None:
        self.answers += data


class WatchedUnreader(ClientUnreader):
    """Notes the pieces in which the parser is given what it reads."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock, nullcontext)  # type: ignore[arg-type]
        self.pieces: list[int] = []

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        piece = super().read(size, read_ahead)
        self.pieces.append(len(piece))
        return piece


def parsed(client: Any) -> ClientParser:
    return ClientParser(Config(), client, ADDRESS, nullcontext)  # type: ignore[arg-type]


def head(*lines: str, first: str = "POST /v1/responses HTTP/1.1") -> bytes:
    return "\r\n".join([first, "Host: 127.0.0.1", *lines, "", ""]).encode()


def head_of(size: int, most_per_field: int = 8000) -> bytes:
    """A head of so many bytes."""
    fields, left = [], size - len(head())
    while left > 0:
        piece = min(left, most_per_field)
        fields.append(f"X-{len(fields)}: ".ljust(piece - 2, "v"))
        left -= piece
    return head(*fields)


def chunks(content: bytes, size: int, extension: bytes = b"") -> bytes:
    pieces = (content[place : place + size] for place in range(0, len(content), size))
    return b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces) + b"0\r\n\r\n"


CHUNKED = head("Transfer-Encoding: chunked")


# Heads


def test_a_head_that_drips_in_is_looked_at_as_few_times_as_one_that_comes_whole() -> None:
    """gunicorn's parser copies and searches all it has for each piece it is given."""
    for times in TIMES:
        data = head_of(6_000 * times)
        for most in (1, 100, 8192):
            parser = parsed(Client(data, most))
            parser.unreader = watched = WatchedUnreader(Client(data, most))
            assert next(parser).method == "POST"
            assert sum(watched.pieces) == len(data)
            assert len(watched.pieces) <= 3


@given(st.lists(st.integers(1, 60), max_size=40))
def test_a_head_is_the_same_wherever_it_is_cut(sizes: list[int]) -> None:
    data = head("X-A: b", "Content-Length: 3") + b"abc" + head(first="GET /health HTTP/1.1")

    class Cut(Client):
        def recv(self, size: int) -> bytes:
            self._most = sizes.pop() if sizes else 1 << 20
            return super().recv(size)

    parser = parsed(Cut(data))
    first = next(parser)
    assert dict(first.headers) == {"HOST": "127.0.0.1", "X-A": "b", "CONTENT-LENGTH": "3"}
    assert first.body.read() == b"abc"
    assert next(parser).path == "/health"


@pytest.mark.parametrize("most", [1, 1000, 8192])
@pytest.mark.parametrize("before", [b"", head(first="GET /health HTTP/1.1")])
def test_a_head_beyond_its_limit_is_refused_as_soon_as_it_is(most: int, before: bytes) -> None:
    for times in TIMES:
        client = Client(before + head_of(LONGEST_HEAD * (times + 1)), most)
        parser = parsed(client)
        if before:
            next(parser)
        with pytest.raises(LimitRequestHeaders):
            next(parser)
        assert client.taken <= len(before) + LONGEST_HEAD + 2 * 8192


def test_a_head_within_its_limit_may_have_one_large_field() -> None:
    config = Config()
    config.set("limit_request_field_size", 32_768)
    data = head("X-A: ".ljust(32_000, "v"), "X-B: ".ljust(30_000, "v"))
    parser = ClientParser(config, Client(data, 1000), ADDRESS, nullcontext)  # type: ignore[arg-type]
    assert len(dict(next(parser).headers)["X-A"]) == 32_000 - 5


@pytest.mark.parametrize("broken", [b"GARBAGE\r\n", b"GET / HTTP/1.1\r\nHost: a\n", b"GET / HTTP/1.1\nHost: a"])
def test_what_is_no_head_is_refused_without_waiting_for_its_end(broken: bytes) -> None:
    class Waiting(Client):
        def recv(self, size: int) -> bytes:
            data = super().recv(size)
            assert data, "it waits for more"
            return data

    with pytest.raises(Exception, match=r"Invalid|bare LF"):
        next(parsed(Waiting(broken, 3)))


def test_a_head_that_does_not_come_to_its_end_is_given_up() -> None:
    ours, theirs = gevent_socket.socketpair()
    with closing(ours), closing(theirs):
        theirs.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        parser = ClientParser(Config(), ours, ADDRESS, IdleConnections(0.05).waiting)
        with pytest.raises(SlowHead), gevent.Timeout(20):
            next(parser)


# Framing


def content_before_refusal(data: bytes, most: int = 8192) -> tuple[int, Client]:
    client = Client(CHUNKED + data, most)
    request = next(parsed(client))
    with pytest.raises(InvalidRequest) as raised:
        receive(request.body, 1 << 30)
    assert raised.value.code == "invalid_http"
    return client.taken, client


@pytest.mark.parametrize("most", [7, 8192])
@pytest.mark.parametrize(
    "make",
    [
        lambda size: chunks(b"x" * size, 1),
        lambda size: chunks(b"x" * size, 40),
        lambda size: chunks(b"x" * (size // 10), 64, b";a=" + b"b" * 1000),
        lambda size: chunks(b"x" * (size // 100), 64, b";a=" + b"b" * 8000),
    ],
    ids=["one byte", "forty bytes", "extensions", "long extensions"],
)
def test_tiny_chunks_are_refused_after_as_many_bytes_however_many_there_are(
    make: Callable[[int], bytes], most: int
) -> None:
    taken = [content_before_refusal(make(900_000 * times), most)[0] for times in TIMES]
    assert len(set(taken)) == 1
    assert taken[0] < 16 * MOST_FRAMING


def test_trailers_are_refused_beyond_their_limit() -> None:
    for times in TIMES:
        taken, _ = content_before_refusal(b"0\r\n" + b"X-A: bcd\r\n" * 4_000 * times + b"\r\n", 100)
        assert taken < 20_000


@pytest.mark.parametrize("size", [200, 1024, 65_536, 1 << 22])
def test_chunks_of_honest_clients_are_read(size: int) -> None:
    content = bytes(range(256)) * (4 << 12)
    request = next(parsed(Client(CHUNKED + chunks(content, size))))
    assert receive(request.body, 1 << 30) == content
    few = b"".join(b"1;a=b\r\nx\r\n" for _ in range(5_000)) + b"0\r\nX-Check: sum\r\n\r\n"
    assert receive(next(parsed(Client(CHUNKED + few))).body, 1 << 30) == b"x" * 5_000


def test_a_body_has_so_much_time_in_all() -> None:
    class Dripping(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            gevent.sleep(0.03)
            return super().read(size)

    with pytest.raises(InvalidRequest) as raised:
        receive(Dripping(bytes(100 << 20)), 100 << 20, patience=5, total=0.3)
    assert (raised.value.status, raised.value.code) == (408, "request_timeout")


@pytest.mark.parametrize(
    "make", [lambda data: (head(f"Content-Length: {len(data)}"), data), lambda data: (CHUNKED, chunks(data, 4096))]
)
def test_others_run_while_a_body_is_read(make: Callable[[bytes], tuple[bytes, bytes]]) -> None:
    """Never blocking, the client's bytes are all there; each 10 ms the loop looks at its timers all the same."""
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        while True:
            gevent.sleep(0.001)
            ticks += 1

    ticking = gevent.spawn(tick)
    gevent.sleep(0.01)
    start, body = make(bytes(48 << 20))
    request = next(parsed(Client(start + body, 4096)))
    began, before = time.monotonic(), ticks
    receive(request.body, 1 << 30)
    took = time.monotonic() - began
    ticking.kill()
    assert ticks - before >= took / 0.05


# 100 Continue


@pytest.mark.parametrize("framing", ["Content-Length: 3", "Transfer-Encoding: chunked"])
def test_a_body_is_invited_once_it_is_read(framing: str) -> None:
    client = Client(head(framing, "Expect: 100-continue"))
    request = next(parsed(client))
    assert (client.answers, request.unreader.invites) == (b"", True)
    with suppress(InvalidRequest):
        receive(request.body, 3)
    assert client.answers == b"HTTP/1.1 100 Continue\r\n\r\n"


def asked(service: Service, path: str, *lines: str) -> bytes:
    """All that comes for a head whose body is not sent."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=patient(20)) as client:
        client.sendall(head("Expect: 100-continue", *lines, first=f"POST {path} HTTP/1.1"))
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_who_is_refused_is_not_invited_to_send_a_body(serve: Callable[..., Service]) -> None:
    service = serve(MAX_BODY_BYTES="1000", **KEY)
    key = f"Authorization: Bearer {KEY['PROXY_API_KEY']}"
    refused = {
        401: ("/v1/responses", "Content-Length: 10"),
        404: ("/v1/nothing", "Content-Length: 10", key),
        413: ("/v1/responses", "Content-Length: 1001", key),
    }
    for status, request in refused.items():
        answer = asked(service, *request)
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
        assert b"Connection: close" in answer
    with socket.create_connection(("127.0.0.1", service.port), timeout=patient(20)) as client:
        client.sendall(head("Expect: 100-continue", "Content-Length: 2", key))
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"{}")
        assert client.recv(65536).startswith(b"HTTP/1.1 ")


# Somebody else's requests


@contextmanager
def attackers(service: Service, attack: Callable[[socket.socket], None], count: int = 3) -> Iterator[None]:
    """Clients that attack over one connection after the other, until the block ends."""
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            with suppress(OSError), socket.create_connection(("127.0.0.1", service.port), timeout=patient(5)) as client:
                attack(client)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(patient(20))


def send_all(client: socket.socket, start: bytes, bite: bytes, times: int) -> None:
    client.sendall(start)
    for _ in range(times):
        client.sendall(bite)


TINY = b"1\r\nx\r\n" * 10_000


def pipeline(client: socket.socket) -> None:
    for _ in range(50):
        client.sendall(head(first="GET /health HTTP/1.1") * 200)
        client.recv(1 << 20)


ATTACKS: dict[str, Callable[[socket.socket], None]] = {
    "tiny chunks": lambda client: send_all(client, CHUNKED, TINY, 100),
    "giant heads": lambda client: send_all(client, head_of(60_000)[:-2], b"X-A: ".ljust(30_000, b"v") + b"\r\n", 90),
    "refused bodies": lambda client: send_all(client, head(f"Content-Length: {1 << 40}"), bytes(1 << 20), 50),
    "pipelines": pipeline,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_health_answers_while_three_clients_without_a_key_send_what_they_like(
    serve: Callable[..., Service], attack: str
) -> None:
    service = serve(**KEY)
    with attackers(service, ATTACKS[attack]):
        time.sleep(0.3)
        began, waits = time.monotonic(), []
        while time.monotonic() - began < 3:
            before = time.monotonic()
            assert service.get("/health").status == 200
            waits.append(time.monotonic() - before)
    # Before, one answer took 15 s. Twenty of them in 3 s leave room for a busy machine.
    assert len(waits) >= 10, waits


def test_half_open_connections_use_up_no_descriptors(serve: Callable[..., Service]) -> None:
    service = serve(login=False)
    service.stop()
    service.launcher = ("prlimit", "--nofile=400:400", *service.launcher)
    service.start()
    held = []
    try:
        for number in range(1_000):
            client = socket.create_connection(("127.0.0.1", service.port), timeout=patient(20))
            client.sendall(b"GET /health HTTP/1.1\r\n" if number % 2 else b"")
            held.append(client)
            if number % 100 == 99:
                assert service.get("/health").status == 200
    finally:
        for client in held:
            client.close()


def test_a_refusal_is_read_whole_by_who_still_sends_and_the_connection_ends(serve: Callable[..., Service]) -> None:
    service = serve(**KEY)
    for framing, body in (
        (f"Content-Length: {40 << 20}", bytes(40 << 20)),
        ("Transfer-Encoding: chunked", chunks(bytes(8 << 20), 4096)),
    ):
        with socket.create_connection(("127.0.0.1", service.port), timeout=patient(20)) as client:
            client.sendall(head(framing))
            client.sendall(body)
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert (answer.status, json.loads(answer.read())["error"]["code"]) == (401, "invalid_api_key")
            assert client.recv(10) == b""


# Packed bodies


def unpacked(body: bytes, encoding: str) -> bytes | InvalidRequest:
    """What comes of a body, or how it is refused."""
    try:
        return bytes(unpack(body, encoding, 64 << 20))
    except InvalidRequest as error:
        return error


def steps_of(work: Callable[[], object], *modules: str) -> int:
    """How many lines of these modules run: the same on any machine."""
    lines = 0

    def trace(frame: Any, event: str, argument: object) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.endswith(modules):
            return None
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


NOISE = random.Random(7).randbytes(2 << 20)
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "deflate": lambda data: zlib.compress(data, 1),
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
}


@pytest.mark.parametrize("encoding", PACKERS)
def test_data_that_does_not_compress_costs_as_many_steps_as_it_has_bytes(encoding: str) -> None:
    """It was quadratic: 16 MB of a picture, which the Codex CLI packs with zstd, took more than 25 s."""
    steps = []
    for times in TIMES:
        data = NOISE * times
        packed = PACKERS[encoding](NOISE) * times if encoding != "deflate" else PACKERS[encoding](data)
        assert unpacked(packed, encoding) == data
        steps.append(
            steps_of(
                lambda packed=packed: unpack(packed, encoding, 64 << 20), "server/request_body/content_encoding.py"
            )
        )
    assert steps[3] < 8.5 * steps[0]
    assert steps[0] < 4_000


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("data", [b"", b"x"])
def test_many_tiny_members_are_refused_after_as_many_steps(encoding: str, data: bytes) -> None:
    one, steps = PACKERS[encoding](data), []
    for times in TIMES:
        packed = one * (5_000 * times)
        refusal = unpacked(packed, encoding)
        assert isinstance(refusal, InvalidRequest) and "pieces" in refusal.message
        steps.append(
            steps_of(lambda packed=packed: unpacked(packed, encoding), "server/request_body/content_encoding.py")
        )
    assert len(set(steps)) == 1


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_honest_members_are_joined(encoding: str) -> None:
    pieces = [NOISE[place : place + 5_000] for place in range(0, len(NOISE), 5_000)]
    assert unpacked(b"".join(map(PACKERS[encoding], pieces)), encoding) == NOISE


@pytest.mark.parametrize("encoding", PACKERS)
@pytest.mark.parametrize("size", [0, 10, 300_000])
def test_packed_data_that_is_cut_off_is_no_data(encoding: str, size: int) -> None:
    packed = PACKERS[encoding](NOISE[:size] + bytes(size))
    for end in {*range(1, min(len(packed), 40)), *range(max(1, len(packed) - 12), len(packed))}:
        refusal = unpacked(packed[:end], encoding)
        assert isinstance(refusal, InvalidRequest), end
        assert refusal.code == "invalid_encoding"


@pytest.mark.parametrize("encoding", PACKERS)
def test_few_bytes_do_not_become_many(encoding: str) -> None:
    for size in (16 << 20, 65 << 20) if encoding == "zstd" else (65 << 20,):
        refusal = unpacked(PACKERS[encoding](bytes(size)), encoding)
        assert isinstance(refusal, InvalidRequest) and (refusal.status, refusal.code) == (413, "body_too_large")
    assert unpacked(PACKERS[encoding](bytes(4 << 20)), encoding) == bytes(4 << 20)


def test_zstd_frames_that_hold_nothing_are_passed_over() -> None:
    note = b"\x5f\x2a\x4d\x18\x03\0\0\0abc"
    packed = PACKERS["zstd"](b"whole")
    assert unpacked(note + packed + note, "zstd") == b"whole"
    assert isinstance(unpacked(packed + note[:-1], "zstd"), InvalidRequest)


# JSON


def refusal_of(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        parse_object(body)
    return raised.value


@pytest.mark.parametrize("value", [b"[]", b"1"])
def test_a_body_of_nothing_but_values_is_refused_before_it_is_large(value: bytes) -> None:
    """60 MB of empty lists took 3.3 GB."""
    body = b'{"a":[' + (value + b",") * (MOST_VALUES + 1) + b"0]}"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusal = refusal_of(body)
    assert (refusal.code, "values" in refusal.message) == ("invalid_json", True)
    # KiB, of which a million empty lists have 90,000.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024


LARGE: dict[str, Callable[[int], bytes]] = {
    "messages": lambda times: json.dumps(
        {"messages": [{"role": "user", "content": "text " * 200}] * 700 * times}
    ).encode(),
    "a picture": lambda times: b'{"input":[{"image":"' + b"iVBORw0K" * (100_000 * times) + b'"}],"z":1}',
    "escapes": lambda times: b'{"input":"' + rb"\u4f60\ud83d\ude00\\\"" * (40_000 * times) + b'"}',
    "text": lambda times: ('{"input":"' + "\u4f60é \U0001f600" * (40_000 * times) + '"}').encode(),
    "numbers": lambda times: b'{"a":[' + b"1.5," * (10_000 * times) + b"1]}",
}


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE)
def test_a_large_body_is_parsed_in_pieces_of_bounded_size(make: Callable[[int], bytes]) -> None:
    """What one call of the parser holds the event loop for depends on the piece, not on the body."""
    calls = []
    for times in TIMES:
        body = make(times)
        assert read_object(body, 0) == orjson.loads(body)
        calls.append(steps_of(lambda body=body: read_object(body, 0), "server/request_body/large_json.py"))
    assert calls[3] < 9 * calls[0]
    assert calls[3] > 3 * calls[0], "it is parsed at once"


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=200)
    | st.sampled_from(['"', "\\", ",[{", "\U0001f600" * 40]),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=5), inner, max_size=8),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=5), st.booleans(), st.data())
def test_pieces_of_a_body_make_what_the_whole_makes(value: dict[str, Any], escaped: bool, data: st.DataObject) -> None:
    filler = "x\\u" * 12_000 + "é" * 20_000
    body = json.dumps({"a": [value, filler], "b": value, "c": [[filler]]}, ensure_ascii=escaped).encode()
    assert read_object(body, 0) == json.loads(body)
    place = data.draw(st.integers(1, len(body) - 1))
    broken = body[:place] + data.draw(st.sampled_from([b"", b",", b"]", b"}", b'"', b":", b"\\"])) + body[place + 1 :]
    try:
        expected: Any = loads(broken)
    except orjson.JSONDecodeError:
        with pytest.raises((NotJSON, InvalidRequest)):
            read_object(broken, 0)
    else:
        assert read_object(broken, 0) == expected


@pytest.mark.parametrize("size", [1, 300_000])
def test_halves_of_emojis_are_replaced_in_bodies_of_any_size(size: int) -> None:
    filler = b"x" * size
    halves = [rb"\ud83d", rb"\ude00", rb"\ud83d\ud83d", "\ud83d".encode("utf-8", "surrogatepass")]
    for half in halves:
        body = b'{"a":["' + half + filler + b'","' + filler + half + rb'\\ud83d \ud83d\ude00"]}'
        first, second = parse_object(body)["a"]
        count = 2 if half.count(b"ud83d") == 2 else 1
        assert first == "\ufffd" * count + filler.decode()
        assert parse_object(b'{"a":"' + (b"x" + half + b" ") * size + b'"}')["a"].count("\ufffd") == size * count
        assert second == filler.decode() + "\ufffd" * count + "\\ud83d \U0001f600"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"a":"' + b"x" * 300_000 + b"\xff" + b'"}', "not UTF-8 (line 1, column 300007)"),
        (b'{"a":\n"' + b"x" * 300_000, "line 2, column"),
        (b'{"a":[' + b"1," * 100_000 + b"\n1,]}", "line 2, column"),
        (b'{"a":' + b"[" * 300_000, "levels deep"),
        (b'{"a":' + b" " * 3_000_000 + b"1}", "whitespace"),
        (b'{"a":' + b"1" * 3_000_000 + b"}", "whitespace"),
        (b'{"a":"' + b"x" * 300_000 + b'"} {', "unexpected content"),
        (b'{"a":"' + rb"\ud83d" * 400_000 + b'"}', "broken characters"),
    ],
)
def test_what_is_wrong_with_a_large_body_is_told_with_its_place(body: bytes, told: str) -> None:
    assert told in refusal_of(body).message


def test_a_picture_packed_with_zstd_holds_no_other_request_up(
    serve: Callable[..., Service], sim: SimulatorClient
) -> None:
    picture = base64.b64encode(random.Random(1).randbytes(45 << 20)).decode()
    body = {
        "model": "gpt-5.2",
        "input": [
            {"role": "user", "content": [{"type": "input_image", "image_url": f"data:image/png;base64,{picture}"}]}
        ],
    }
    packed = PACKERS["zstd"](json.dumps(body).encode())
    service = serve()
    answers: list[int] = []
    asking = threading.Thread(
        target=lambda: answers.append(
            service.post("/v1/responses", packed, {"content-encoding": "zstd", "x-codexproxy-dry-run": "1"}).status
        )
    )
    asking.start()
    healthy = 0
    while asking.is_alive():
        assert service.get("/health").status == 200
        healthy += 1
    assert answers == [200]
    assert healthy >= 5


@pytest.mark.parametrize("start", [b"[", b'"', b"7", b"\xff", b"  ["])
def test_a_large_body_that_begins_like_no_object_is_refused_without_being_parsed(start: bytes) -> None:
    body = start * 3_000_000
    refusals: list[InvalidRequest] = []

    def refuse() -> None:
        try:
            parse_object(body)
        except InvalidRequest as error:
            refusals.append(error)

    assert cost_of(refuse).memory < 1_000_000
    assert [error.code for error in refusals] == ["invalid_json" if start == b"\xff" else "invalid_type"]


@pytest.mark.parametrize(
    "asked", [{"input": "hi", "previous_response_id": ""}, {"input": [{"type": "item_reference", "id": ""}]}]
)
def test_an_unknown_id_of_any_length_is_repeated_in_short(service: Service, asked: dict[str, Any]) -> None:
    body = json.dumps({"model": "gpt-5.2", **asked}).replace('""', json.dumps("resp_" + "x" * 2_000_000))
    refused = service.post("/v1/responses", body.encode())
    assert refused.status == 400 and len(refused.body) < 1_000
    assert b"resp_xxx" in refused.body
