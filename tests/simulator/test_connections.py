"""Connections: keep-alive, clients that leave, request bodies in every coding."""

import gzip
import http.client
import json
import socket
import time
import zlib
from collections.abc import Callable

import pytest
import zstandard

from codexproxy.simulator import recipes
from codexproxy.simulator.client import RESPONSES
from tests.patience import patient
from tests.simulator.talk import TURN, Talker, read_to_end, read_until

ENDLESS = recipes.say("a", "b", "c")


@pytest.mark.parametrize("place", [{"at": "head"}, {"at": "first_event"}, {"event": 6}, {"inside_chunk": 6}], ids=str)
def test_a_client_that_leaves_a_silent_stream_is_noticed_at_once(talker: Talker, place: dict[str, object]) -> None:
    talker.sim.script(recipes.stall_at(ENDLESS, **place))
    # The one that asks, and idle ones of services that other tests left standing.
    before = talker.sim.counters()["open_connections"]
    sock = talker.open()
    talker.sim.wait_for(lambda counters: counters["open_streams"] == 1)

    left = time.time()
    sock.close()
    counters = talker.sim.wait_for(lambda counters: counters["open_streams"] == 0)

    assert counters["disconnects"] == 1
    assert talker.sim.wait_for(lambda counters: counters["open_connections"] <= before)
    assert 0 <= counters["disconnect_times"][0] - left < 1
    assert talker.sim.last_turn()["outcome"] == "client_left"


def test_a_client_that_leaves_a_talking_stream_is_noticed(talker: Talker) -> None:
    talker.sim.script(recipes.flood(100_000, pace_ms=5))
    with talker.open() as sock:
        read_until(sock, b"output_text.delta")

    assert talker.sim.wait_for(lambda counters: counters["open_streams"] == 0)["disconnects"] == 1


def test_a_client_that_resets_is_noticed(talker: Talker) -> None:
    talker.sim.script(recipes.stall_at(ENDLESS, event=3))
    sock = talker.open()
    read_until(sock, b"response.in_progress")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    sock.close()

    assert talker.sim.wait_for(lambda counters: counters["open_streams"] == 0)["disconnects"] == 1


def test_a_client_that_reads_to_the_end_has_not_left(talker: Talker) -> None:
    for _ in range(20):
        talker.turn()

    assert talker.sim.counters()["disconnects"] == 0
    assert {turn["outcome"] for turn in talker.sim.turns()} == {"answered"}


def test_a_connection_serves_many_requests(talker: Talker) -> None:
    with socket.create_connection(talker.address, timeout=patient(5)) as sock:
        for _ in range(3):
            sock.sendall(talker.turn_bytes())
            assert read_until(sock, b"\r\n0\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert len(talker.sim.turns()) == 3


def test_requests_sent_ahead_are_answered_in_order(talker: Talker) -> None:
    talker.sim.script(recipes.stall_at(recipes.say("tick"), gate="gate", event=3), recipes.say("tock"))
    with socket.create_connection(talker.address, timeout=patient(5)) as sock:
        sock.sendall(talker.turn_bytes())
        talker.sim.wait_for(lambda counters: counters["open_streams"] == 1)
        sock.sendall(talker.turn_bytes())
        talker.sim.open_gate("gate")
        wire = read_until(sock, b'"tock"')
    assert wire.index(b'"tick"') < wire.index(b'"tock"')


def test_a_client_that_asks_for_it_gets_its_connection_closed(talker: Talker) -> None:
    with talker.open(connection="close") as sock:
        assert read_to_end(sock).endswith(b"0\r\n\r\n")


def test_a_waiting_body_is_invited(talker: Talker) -> None:
    data = json.dumps(TURN).encode()
    head = talker.turn_bytes().split(b"\r\n\r\n")[0] + b"\r\nexpect: 100-continue\r\n\r\n"
    with socket.create_connection(talker.address, timeout=patient(5)) as sock:
        sock.sendall(head)
        assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(data)
        assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("zstd", lambda data: zstandard.compress(data)),
        ("zstd", lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data)),
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
    ],
)
def test_compressed_bodies_are_understood(talker: Talker, coding: str, encode: Callable[[bytes], bytes]) -> None:
    data = encode(json.dumps(TURN).encode())
    answer = talker.request("POST", RESPONSES, data, content_encoding=coding)

    assert answer.status == 200
    seen = talker.sim.last_turn()
    assert (seen["content_encoding"], seen["raw_size"], seen["json"]) == (coding, len(data), TURN)


def test_a_zstd_body_that_is_cut_short_is_refused(talker: Talker) -> None:
    data = zstandard.compress(json.dumps(TURN).encode() * 100)

    assert talker.request("POST", RESPONSES, data[:-5], content_encoding="zstd").status == 400


@pytest.mark.parametrize(("coding", "status"), [("br", 415), ("gzip", 400), ("zstd", 400)])
def test_bodies_in_the_wrong_coding_are_refused(talker: Talker, coding: str, status: int) -> None:
    assert talker.request("POST", RESPONSES, b"not compressed", content_encoding=coding).status == status


def test_chunked_request_bodies_are_understood(talker: Talker) -> None:
    connection = http.client.HTTPConnection(*talker.address, timeout=patient(5))
    pieces = [piece.encode() for piece in json.dumps(TURN)]
    connection.request("POST", RESPONSES, iter(pieces), talker.headers, encode_chunked=True)
    answer = connection.getresponse()
    answer.read()
    connection.close()

    assert answer.status == 200
    assert talker.sim.last_turn()["json"] == TURN


def test_a_body_of_seventy_megabytes_is_taken(talker: Talker) -> None:
    answer = talker.turn(instructions="x" * 70_000_000)

    seen = talker.sim.last_turn()
    assert (answer.status, seen["size"] > 70_000_000, seen["json"]) == (200, True, None)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ]
    + [
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_rubbish_gets_a_400_and_a_closed_connection(talker: Talker, rubbish: bytes) -> None:
    with socket.create_connection(talker.address, timeout=patient(5)) as sock:
        sock.sendall(rubbish)
        assert read_to_end(sock).startswith(b"HTTP/1.1 400 ")


def test_unknown_paths_methods_and_upgrades_are_told_apart(talker: Talker) -> None:
    assert talker.request("GET", RESPONSES, None, upgrade="websocket", connection="upgrade").status == 426
    assert talker.request("GET", RESPONSES).status == 405
    assert talker.request("PUT", "/oauth/token").status == 405
    assert talker.request("GET", "/nowhere").json == {"detail": "Not Found"}
    wrong = talker.request("POST", "/backend-api/codex/chat/completions", {})
    assert (wrong.status, wrong.headers["cf-mitigated"]) == (403, "challenge")


def test_what_was_received_can_be_read_back(talker: Talker) -> None:
    talker.turn(instructions="märk", headers={"session_id": "s-1"})
    talker.turn(instructions="other")

    (seen,) = talker.sim.turns(match="märk")
    assert seen["method"] == "POST"
    assert seen["path"] == RESPONSES
    assert seen["headers"]["session-id"] == "s-1"
    assert seen["json"]["instructions"] == "märk"
    assert seen["status"] == 200
    assert [turn["json"]["instructions"] for turn in talker.sim.turns()] == ["märk", "other"]
    assert talker.sim.requests(RESPONSES, after=seen["number"])[0]["json"]["instructions"] == "other"
    assert talker.sim.counters()["requests"] == {RESPONSES: 2}


def test_a_reset_ends_streams_and_forgets_everything(talker: Talker) -> None:
    talker.sim.script(recipes.stall_at(ENDLESS, event=3))
    talker.sim.rules(overload_503={"match": "never"})
    with talker.open() as sock:
        read_until(sock, b"response.in_progress")
        talker.sim.reset()
        read_to_end(sock)

    assert talker.sim.counters()["total_requests"] == 0
    assert talker.sim.tokens() == {"access": [], "refresh": []}
    assert talker.sim.rules()["overload_503"] is False
    assert talker.turn().status == 401


def test_many_streams_at_once_are_counted(talker: Talker) -> None:
    talker.sim.script(recipes.stall_at(ENDLESS, event=3), repeat=-1)
    socks = [talker.open() for _ in range(200)]
    talker.sim.wait_for(lambda counters: counters["open_streams"] == 200)
    for sock in socks:
        sock.close()
    counters = talker.sim.wait_for(lambda counters: counters["open_streams"] == 0)
    assert (counters["max_open_streams"], counters["disconnects"]) == (200, 200)


def test_a_long_stream_flat_out_is_quick(talker: Talker) -> None:
    talker.sim.script(recipes.flood(20_000))
    started = time.monotonic()
    answer = talker.turn()

    assert answer.body.count(b"event: response.output_text.delta\n") == 20_000
    # About 50 ms on a quiet machine; the bound is for one that is busy with other tests.
    assert time.monotonic() - started < 2
