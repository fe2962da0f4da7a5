"""The load client's reading of HTTP."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import frames
from bench.answer import Answer
from bench.client import Exchange, Load, Tally

BODY = b"".join([b"event: x\ndata: {%d}\n\n" % number for number in range(9)])
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(map(frames.chunk, pieces)) + b"0\r\n\r\n"


@given(st.integers(1, 40), st.lists(st.integers(1, 300), max_size=60))
def test_a_chunked_body_is_the_same_however_it_is_cut(size: int, cuts: list[int]) -> None:
    wire = CHUNKED + chunked(BODY, size)
    answer, seen, start = Answer(), b"", 0
    for cut in [*cuts, len(wire)]:
        seen += answer.feed(wire[start : start + cut])
        start += cut
    assert seen == BODY
    assert answer.ended
    assert answer.status == 200


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_body_with_a_length_ends_after_it(step: int) -> None:
    wire = b"HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\nConnection: close\r\n\r\nhello"
    answer = Answer()
    seen = b"".join(answer.feed(wire[start : start + step]) for start in range(0, len(wire), step))
    assert (seen, answer.status, answer.ended, answer.closes) == (b"hello", 404, True, True)


def test_a_body_that_ends_with_its_connection_is_never_ended() -> None:
    answer = Answer()
    assert answer.feed(b"HTTP/1.0 200 OK\r\n\r\nsome") + answer.feed(b"thing") == b"something"
    assert not answer.ended
    assert answer.closes


LOAD = Load(port=1, path="/", body="{}", requests=1, at_once=1, ramp=0, deltas=3, stamped=True, limit=1)


@given(st.lists(st.integers(1, 400), max_size=30))
def test_every_delta_is_counted_and_timed_once_however_the_reads_fall(cuts: list[int]) -> None:
    answer = b"".join(frames.delta(number, 5_000_000_000 + number) for number in range(3))
    wire = CHUNKED + frames.opening() + answer + frames.closing(3, "5000000000 " * 3)
    exchange, tally, start = Exchange(LOAD), Tally(), 0
    exchange.prepare()
    for cut in [*cuts, len(wire)]:
        exchange.take(wire[start : start + cut], 6_000_000_000, tally)
        start += cut
    assert exchange.deltas == 3
    assert [round(lag, 6) for lag in tally.lags] == [1.0, 1.0, 1.0]
    assert exchange.whole


def test_the_frames_of_the_source_are_events_of_the_responses_api() -> None:
    answer = Answer()
    body = answer.feed(CHUNKED + frames.opening() + frames.delta(0, 5) + frames.closing(1, "5 "))
    events = [block.split(b"\n") for block in body.strip().split(b"\n\n")]
    for name, data in events:
        assert json.loads(data.removeprefix(b"data: "))["type"] == name.removeprefix(b"event: ").decode()
    assert events[-1][0] == b"event: response.completed"
    assert answer.ended
