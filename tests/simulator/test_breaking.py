"""The simulator breaks HTTP and falls silent exactly where it is told to."""

import socket
import time
from typing import Any

import pytest

from codexproxy.simulator import recipes
from tests.patience import patient
from tests.simulator.talk import Talker, events_of, read_to_end, read_until

Json = dict[str, Any]

SCRIPT = recipes.say("Hello ", "wörld", " end")


def dechunked(wire: bytes) -> bytes:
    """The body of a chunked answer, as far as its chunks are whole."""
    body, rest = b"", wire.split(b"\r\n\r\n", 1)[1]
    while b"\r\n" in rest:
        line, rest = rest.split(b"\r\n", 1)
        size = int(line.split(b";")[0], 16)
        if size == 0 or len(rest) < size + 2:
            break
        body, rest = body + rest[:size], rest[size + 2 :]
    return body


def whole_body(talker: Talker) -> bytes:
    talker.sim.script(SCRIPT | {"response_id": "resp_fixed"})
    return talker.turn().body


def cut(talker: Talker, how: str, **place: Any) -> bytes:
    talker.sim.script(recipes.cut_after(SCRIPT, how, **place))
    with talker.open() as sock:
        return read_to_end(sock)


def test_a_clean_cut_ends_the_chunks_properly_but_without_a_terminal_event(talker: Talker) -> None:
    wire = cut(talker, "clean", event=6)

    assert wire.endswith(b"0\r\n\r\n")
    assert len(events_of(dechunked(wire))) == 6


def test_a_close_ends_between_two_chunks_without_the_last_one(talker: Talker) -> None:
    wire = cut(talker, "close", event=6)

    assert not wire.endswith(b"0\r\n\r\n")
    assert len(events_of(dechunked(wire))) == 6


def test_a_reset_is_seen_as_a_reset(talker: Talker) -> None:
    assert cut(talker, "reset", event=3).endswith(b"<RESET>")


def test_a_truncated_chunk_promises_more_than_it_holds(talker: Talker) -> None:
    wire = cut(talker, "truncated_chunk", event=6)

    complete = dechunked(wire)
    assert len(events_of(complete)) == 6
    assert len(wire) > len(complete) + wire.index(b"\r\n\r\n")


def test_a_bad_chunk_has_no_size(talker: Talker) -> None:
    assert b"\r\nzz\r\n" in cut(talker, "bad_chunk", event=6)


def test_a_half_closed_connection_still_listens(talker: Talker) -> None:
    talker.sim.script(recipes.cut_after(SCRIPT, "half_close", event=6))
    with talker.open() as sock:
        wire = read_to_end(sock)
        assert len(events_of(dechunked(wire))) == 6
        assert talker.sim.counters()["open_streams"] == 1
    talker.sim.wait_for(lambda counters: counters["open_streams"] == 0)


@pytest.mark.parametrize("place", [{"byte": 0}, {"at": "first_event"}])
def test_a_cut_at_the_first_byte_leaves_only_the_head(talker: Talker, place: Json) -> None:
    wire = cut(talker, "close", **place)

    assert wire.startswith(b"HTTP/1.1 200 OK\r\n")
    assert wire.endswith(b"\r\n\r\n")
    assert dechunked(wire) == b""


@pytest.mark.parametrize("byte", [1, 7, 100, -1, -2, -30])
def test_a_cut_falls_exactly_at_its_byte(talker: Talker, byte: int) -> None:
    talker.sim.script(SCRIPT | {"response_id": "r"})
    size = len(talker.turn().body)

    talker.sim.script(recipes.cut_after(SCRIPT | {"response_id": "r"}, "clean", byte=byte))
    body = talker.turn().body

    assert len(body) == (byte if byte > 0 else size + byte)


@pytest.mark.parametrize("at", ["head", "inside_head"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_the_head_can_be_missing_or_half(talker: Talker, at: str, how: str) -> None:
    wire = cut(talker, how, at=at)

    assert b"\r\n\r\n" not in wire
    assert wire.startswith(b"HTTP/1.1") == (at == "inside_head" and not wire.startswith(b"<RESET>"))
    assert wire.endswith(b"<RESET>") == (how == "reset")


@pytest.mark.parametrize(
    ("place", "ending"),
    [
        ({"at": "first_event"}, b"\r\n\r\n"),
        ({"event": 6}, b"\n\n\r\n"),
        ({"inside_event": 6}, b""),
        ({"inside_chunk": 6}, b""),
        ({"inside_utf8": True}, b"\xc3\r\n"),
        ({"at": "end"}, b"\n\n\r\n"),
    ],
    ids=str,
)
def test_a_stall_holds_at_its_place_until_the_gate_opens(talker: Talker, place: Json, ending: bytes) -> None:
    talker.sim.script(recipes.stall_at(SCRIPT, gate="gate", **place))
    with talker.open() as sock:
        wire = read_until(sock, b"\r\n\r\n")
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            while True:
                wire += sock.recv(65536)
        assert wire.endswith(ending)
        if "inside_chunk" in place:
            assert len(events_of(dechunked(wire))) == 6
        talker.sim.open_gate("gate")
        sock.settimeout(patient(5))
        wire += read_until(sock, b"0\r\n\r\n")
    events = events_of(dechunked(wire))
    assert events[-1]["type"] == "response.completed"
    assert "".join(event["delta"] for event in events if "delta" in event) == "Hello wörld end"


@pytest.mark.parametrize("at", ["head", "inside_head"])
def test_a_stall_can_hold_back_the_head(talker: Talker, at: str) -> None:
    talker.sim.script(recipes.stall_at(SCRIPT, gate="gate", at=at))
    with talker.open() as sock:
        sock.settimeout(0.1)
        start = b""
        with pytest.raises(TimeoutError):
            while True:
                start += sock.recv(65536)
        assert (start == b"") == (at == "head")
        talker.sim.open_gate("gate")
        sock.settimeout(patient(5))
        assert (start + read_until(sock, b"0\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")


def test_a_stall_can_be_a_time(talker: Talker) -> None:
    talker.sim.script(recipes.stall_at(SCRIPT, ms=150, event=3))

    started = time.monotonic()
    answer = talker.turn()

    assert time.monotonic() - started >= 0.15
    assert answer.types[-1] == "response.completed"


@pytest.mark.parametrize("chunking", ["whole", "byte", 1, 2, 7, 1000])
def test_chunks_have_the_wanted_size_and_the_same_content(talker: Talker, chunking: str | int) -> None:
    talker.sim.script(SCRIPT | {"chunking": chunking})
    with talker.open() as sock:
        wire = read_until(sock, b"\r\n0\r\n\r\n")

    body = wire.split(b"\r\n\r\n", 1)[1]
    sizes = {"whole": len(dechunked(wire)), "byte": 1}
    assert body.startswith(b"%x\r\n" % sizes.get(str(chunking), chunking))
    assert "".join(e["delta"] for e in events_of(dechunked(wire)) if "delta" in e) == "Hello wörld end"


def test_paced_deltas_come_in_reads_of_their_own(talker: Talker) -> None:
    talker.sim.script(recipes.flood(5, pace_ms=40))
    with talker.open() as sock:
        started, arrivals, data = time.monotonic(), [], b""
        while not data.endswith(b"0\r\n\r\n"):
            data = sock.recv(65536)
            if b"output_text.delta" in data:
                arrivals.append(time.monotonic() - started)

    assert len(arrivals) == 5
    assert arrivals[-1] >= 0.19


def test_stamped_deltas_hold_the_moment_they_were_sent(talker: Talker) -> None:
    before = time.monotonic_ns()
    talker.sim.script(recipes.flood(3, pace_ms=20, stamp=True))
    stamps = [int(event["delta"]) for event in talker.turn().events if event["type"].endswith(".delta")]

    assert before < stamps[0] < stamps[1] < stamps[2] < time.monotonic_ns()
    assert stamps[2] - stamps[0] >= 30_000_000


def test_the_socket_can_stay_open_after_the_terminal_event(talker: Talker) -> None:
    talker.sim.rules(socket_left_open=True)
    with talker.open() as sock:
        read_until(sock, b"event: response.completed")
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            while True:
                assert sock.recv(65536) != b""
        assert talker.sim.counters()["open_streams"] == 1
    talker.sim.wait_for(lambda counters: counters["open_streams"] == 0)


def test_keepalives_come_while_the_model_is_silent(talker: Talker) -> None:
    talker.sim.rules(keepalives={"every_ms": 20})
    talker.sim.script(recipes.stall_at(SCRIPT, ms=110, event=3))

    types = talker.turn().types

    assert types.count("keepalive") == 5
    assert types.index("keepalive") == 3


def test_a_buffered_account_waits_long_and_then_gets_everything(talker: Talker) -> None:
    talker.sim.rules(safety_buffering={"ms": 120})
    started = time.monotonic()
    answer = talker.turn()

    assert time.monotonic() - started >= 0.12
    assert answer.types[:3] == ["response.created", "response.in_progress", "response.metadata"]


def test_a_scripted_reply_can_be_slow_or_cut(talker: Talker) -> None:
    talker.sim.script(
        recipes.http(500, {"x": 1}, delay_ms=100), recipes.http(503, {"x": 1}, cut={"byte": 3, "how": "close"})
    )
    started = time.monotonic()
    assert talker.turn().status == 500
    assert time.monotonic() - started >= 0.1
    with talker.open() as sock:
        assert read_to_end(sock).endswith(b'\r\n\r\n{"x')


def test_a_slow_reader_does_not_stop_the_others(talker: Talker) -> None:
    talker.sim.script(recipes.flood(40_000), match="slow")
    with talker.open({"instructions": "slow"}) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        talker.sim.wait_for(lambda counters: counters["open_streams"] == 1)
        assert talker.turn().types[-1] == "response.completed"
    talker.sim.wait_for(lambda counters: counters["open_streams"] == 0)
