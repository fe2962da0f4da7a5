"""Chunked bodies, cut in every way a network cuts them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.upstream.chatgpt.chunked import MAX_LINE, Chunks


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def fed(wire: bytes, step: int) -> tuple[bytes, Chunks]:
    chunks = Chunks()
    return b"".join(chunks.feed(wire[at : at + step]) for at in range(0, len(wire), step)), chunks


@given(
    parts=st.lists(st.binary(min_size=1, max_size=30), max_size=8),
    step=st.integers(1, 60),
    trailers=st.sampled_from([b"", b"x-a: b\r\n", b"x-a: b\r\nx-c: d\r\n"]),
)
def test_the_data_is_the_same_however_the_body_is_cut(parts: list[bytes], step: int, trailers: bytes) -> None:
    data, chunks = fed(b"".join(map(chunk, parts)) + b"0\r\n" + trailers + b"\r\n", step)
    assert data == b"".join(parts)
    assert (chunks.ended, chunks.fault, chunks.rest) == (True, None, b"")


@given(parts=st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=8), cut=st.integers(0, 400))
def test_what_has_come_is_handed_on_at_once(parts: list[bytes], cut: int) -> None:
    wire = b"".join(map(chunk, parts))[:cut]
    chunks = Chunks()
    data = chunks.feed(wire)
    assert b"".join(parts).startswith(data)
    assert not chunks.ended
    # At most a size line and the line ends around it are held back.
    assert len(chunks.rest) <= 4


@given(st.binary(max_size=80), st.integers(1, 9))
def test_any_bytes_end_in_data_a_fault_or_waiting_but_never_in_an_exception(wire: bytes, step: int) -> None:
    whole, together = fed(wire, len(wire) or 1)
    pieces, apart = fed(wire, step)
    assert whole == pieces
    assert (together.ended, together.fault) == (apart.ended, apart.fault)


@pytest.mark.parametrize(
    ("wire", "data"),
    [
        (b"3\r\nabc\r\nzz\r\nab\r\n", b"abc"),
        (b"-3\r\nabc\r\n", b""),
        (b"3\r\nabcdef\r\n", b"abc"),
        (b"\r\n", b""),
        (b"a" * (MAX_LINE + 1), b""),
    ],
)
def test_garbage_is_a_fault_behind_the_data_before_it(wire: bytes, data: bytes) -> None:
    for step in (1, len(wire)):
        seen, chunks = fed(wire, step)
        assert seen == data
        assert chunks.fault
        assert not chunks.ended


def test_extensions_of_a_chunk_are_skipped() -> None:
    assert Chunks().feed(b"3;name=value\r\nabc\r\n") == b"abc"


def test_what_follows_the_end_is_kept_apart() -> None:
    data, chunks = fed(b"1\r\na\r\n0\r\n\r\nHTTP/1.1 200 OK", 100)
    assert (data, chunks.ended, chunks.rest) == (b"a", True, b"HTTP/1.1 200 OK")
