"""The delivery plan, without a socket: nothing is lost, doubled or reordered, wherever it is cut or stalled."""

import gzip
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.simulator.delivery import Coding, Cut, Delivery, Mark, Send, Step, Until, Wait, gzip_coder, plan_body

FRAMES = [b"event: a\n\n", b"event: x.delta\ndata: 1\n\n", b"event: x.delta\ndata: 2\n\n", b"event: end\n\n"]
BODY = b"".join(FRAMES)


def sent(steps: Iterator[Step] | list[Step]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, Send))


def dechunked(wire: bytes) -> bytes:
    body = b""
    while wire:
        line, wire = wire.split(b"\r\n", 1)
        size = int(line.split(b";")[0], 16)
        body, wire = body + wire[:size], wire[size + 2 :]
    return body


CHUNKINGS: st.SearchStrategy[Any] = st.one_of(st.sampled_from(["frame", "whole", "byte"]), st.integers(1, 99))


@given(
    chunking=CHUNKINGS,
    stalls=st.lists(st.tuples(st.integers(0, len(BODY)), st.booleans()), max_size=4),
    pace=st.sampled_from([0.0, 0.01]),
)
def test_stalls_and_chunking_never_change_the_body(chunking: Any, stalls: list[tuple[int, bool]], pace: float) -> None:
    marks = [Mark(offset, stall={"ms": 1}, inside_chunk=inside) for offset, inside in stalls]
    delivery = Delivery(pace=pace, chunking=chunking, marks=marks)

    assert dechunked(sent(plan_body(FRAMES, delivery, Coding()))) == BODY


@given(chunking=CHUNKINGS, offset=st.integers(0, len(BODY)))
def test_a_cut_keeps_exactly_what_comes_before_it(chunking: Any, offset: int) -> None:
    steps = list(plan_body(FRAMES, Delivery(chunking=chunking, marks=[Mark(offset, cut="reset")]), Coding()))

    assert dechunked(sent(steps)) == BODY[:offset]
    assert steps[-1] == Cut("reset")


@pytest.mark.parametrize("coding", [Coding(extensions=True), Coding(trailers=True), Coding()], ids=str)
def test_every_framing_holds_the_same_body(coding: Coding) -> None:
    assert dechunked(sent(plan_body(FRAMES, Delivery(), coding)).replace(b"x-sim-trailer: yes\r\n", b"")) == BODY


def test_compressed_bodies_decompress_to_the_same() -> None:
    wire = sent(plan_body(FRAMES, Delivery(), Coding(chunked=False, squeeze=gzip_coder())))

    assert gzip.decompress(wire) == BODY


def test_each_event_is_a_chunk_of_its_own_but_many_share_a_write() -> None:
    steps = list(plan_body(FRAMES * 100, Delivery(), Coding()))

    assert len(steps) < 5
    assert sent(steps).count(b"\r\n") == 2 * (len(FRAMES) * 100 + 1)


def test_paced_deltas_are_due_at_fixed_moments_however_late_they_run() -> None:
    steps = list(plan_body(FRAMES, Delivery(pace=0.5, clock=lambda: 100.0), Coding()))

    assert [step.moment for step in steps if isinstance(step, Until)] == [100.5, 101.0]
    assert [type(step).__name__ for step in steps] == ["Send", "Until", "Send", "Until", "Send", "Send"]


def test_an_endless_stall_is_a_wait_without_a_limit() -> None:
    steps = plan_body(FRAMES, Delivery(marks=[Mark(0, stall={})]), Coding())

    assert next(steps) == Wait(None, None)


def test_keepalives_fill_a_stall_until_its_gate_opens() -> None:
    opened: list[bool] = []
    delivery = Delivery(
        marks=[Mark(0, stall={"gate": "g"})],
        keepalive=0.5,
        silence_event=lambda: b"ping",
        gate_open=lambda gate: bool(opened),
    )
    steps = plan_body([b"x"], delivery, Coding(chunked=False))

    assert [next(steps) for _ in range(4)] == [Wait("g", 0.5), Send(b"ping"), Wait("g", 0.5), Send(b"ping")]
    opened.append(True)
    assert next(step for step in steps if isinstance(step, Send)) == Send(b"x")
