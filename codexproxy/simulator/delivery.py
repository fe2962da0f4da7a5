"""How an answer's bytes reach the client: pace, chunking, stalls and cuts, as a lazy plan of steps.

A plan is pulled step by step while it is carried out, so that stamps hold the
moment of sending. Everything here is pure but for the clock it is given.
"""

import math
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from codexproxy.simulator.events import STAMP, Json
from codexproxy.simulator.replies import LAST_CHUNK, chunk

BATCH = 64 * 1024
DELTA = b".delta"
MARK = STAMP.encode()

CUTS = ("clean", "close", "reset", "truncated_chunk", "bad_chunk", "half_close")


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes for the socket."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Sleep:
    """A pause in seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Until:
    """A pause until a moment of the monotonic clock, in seconds."""

    moment: float


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause until a gate opens, or for ever where it has no name; at most some seconds."""

    gate: str | None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of the connection: ``reset``, ``half_close`` or an orderly ``close``."""

    how: str


Step = Send | Sleep | Until | Wait | Cut


class BadScript(ValueError):
    """A script asks for something that does not exist."""


@dataclass(slots=True)
class Coding:
    """How body bytes become bytes on the wire.

    Attributes:
        chunked: Whether the body is chunked; else it ends with the connection.
        extensions: Whether chunk sizes carry an extension.
        trailers: Whether trailer fields follow the last chunk.
        squeeze: A gzip compressor, when the body is compressed.
    """

    chunked: bool = True
    extensions: bool = False
    trailers: bool = False
    squeeze: Any = None

    def wrap(self, data: bytes) -> bytes:
        """One piece of the body, as one chunk."""
        if self.squeeze is not None and data:
            data = self.squeeze.compress(data) + self.squeeze.flush(zlib.Z_SYNC_FLUSH)
        if not self.chunked:
            return data
        if self.extensions and data:
            return b"%x;part=sim\r\n%b\r\n" % (len(data), data)
        return chunk(data)

    def end(self) -> bytes:
        """What ends the body."""
        rest = self.squeeze.flush() if self.squeeze is not None else b""
        if not self.chunked:
            return bytes(rest)
        last = b"0\r\nx-sim-trailer: yes\r\n\r\n" if self.trailers else LAST_CHUNK
        return chunk(rest) + last


def gzip_coder() -> Any:
    """A compressor for the content coding gzip."""
    return zlib.compressobj(wbits=31)


@dataclass(slots=True)
class Mark:
    """Something that happens at a byte of the body: a stall, or the cut."""

    offset: int
    stall: Json | None = None
    cut: str | None = None
    inside_chunk: bool = False


@dataclass(slots=True)
class Delivery:
    """The delivery part of a script, checked.

    Attributes:
        pace: Seconds between deltas.
        chunking: ``frame``, ``whole``, or the number of bytes per chunk.
        silence_event: Makes one keepalive frame, where the rule is on.
        keepalive: Seconds of silence after which a keepalive is sent.
        gate_open: Whether the gate of that name is open already.
        end: Whether the body is ended at all.
    """

    pace: float = 0.0
    chunking: str | int = "frame"
    marks: list[Mark] = field(default_factory=list)
    keepalive: float | None = None
    silence_event: Callable[[], bytes] = bytes
    gate_open: Callable[[str | None], bool] = lambda gate: False
    end: bool = True
    clock: Callable[[], float] = time.monotonic
    stamp: Callable[[], int] = time.monotonic_ns


def plan_body(frames: list[bytes], delivery: Delivery, coding: Coding) -> Iterator[Step]:
    """The steps that deliver a body."""
    if delivery.marks or delivery.chunking != "frame":
        for step in _plan_marked(frames, delivery, coding):
            yield step
            if isinstance(step, Cut):
                return
    elif delivery.pace:
        yield from _plan_paced(frames, delivery, coding)
    else:
        yield from _plan_flat_out(frames, delivery, coding)
    if delivery.end:
        yield Send(coding.end())


def _plan_flat_out(frames: list[bytes], delivery: Delivery, coding: Coding) -> Iterator[Step]:
    # Many frames share a write, but each is a chunk of its own, as upstream sends them.
    plain = coding.chunked and not coding.extensions and coding.squeeze is None
    stamped = any(MARK in frame for frame in frames)
    together = 1 + BATCH * len(frames) // (1 + sum(map(len, frames)))
    for start in range(0, len(frames), together):
        batch = frames[start : start + together]
        if stamped:
            batch = [_stamped(frame, delivery) for frame in batch]
        if plain:
            yield Send(b"".join([b"%x\r\n%b\r\n" % (len(frame), frame) for frame in batch]))
        else:
            yield Send(b"".join([coding.wrap(frame) for frame in batch]))


def _plan_paced(frames: list[bytes], delivery: Delivery, coding: Coding) -> Iterator[Step]:
    due = delivery.clock()
    for group in grouped(frames):
        if DELTA in group[0][:80]:
            due += delivery.pace
            yield Until(due)
        yield Send(b"".join([coding.wrap(_stamped(frame, delivery)) for frame in group]))


def grouped(frames: list[bytes]) -> Iterator[list[bytes]]:
    """Frames that are sent together: each delta begins a group."""
    group: list[bytes] = []
    for frame in frames:
        if group and DELTA in frame[:80]:
            yield group
            group = []
        group.append(frame)
    if group:
        yield group


def _stamped(frame: bytes, delivery: Delivery) -> bytes:
    return frame.replace(MARK, b"%d " % delivery.stamp()) if MARK in frame else frame


def _plan_marked(frames: list[bytes], delivery: Delivery, coding: Coding) -> Iterator[Step]:
    """Delivers with stalls or a cut, or in chunks of another size; the slow, exact way."""
    position = 0
    marks = sorted(delivery.marks, key=lambda mark: mark.offset)
    for piece in _pieces(frames, delivery.chunking):
        if delivery.pace and DELTA in piece[:80]:
            yield Sleep(delivery.pace)
        here = [mark for mark in marks if position <= mark.offset < position + len(piece)]
        marks = [mark for mark in marks if mark not in here]
        yield from _plan_piece(piece, position, here, delivery, coding)
        position += len(piece)
    for mark in marks:
        yield from _at_mark(mark, b"", delivery, coding)


def _pieces(frames: list[bytes], chunking: str | int) -> Iterator[bytes]:
    if chunking == "frame":
        yield from frames
        return
    body = b"".join(frames)
    size = len(body) if chunking == "whole" else 1 if chunking == "byte" else int(chunking)
    for start in range(0, len(body), size or 1):
        yield body[start : start + size]


def _plan_piece(piece: bytes, position: int, marks: list[Mark], delivery: Delivery, coding: Coding) -> Iterator[Step]:
    done = 0
    for mark in marks:
        split = mark.offset - position
        if mark.inside_chunk and coding.chunked:
            # The chunk's size promises the whole rest; its first part comes before the stall.
            whole = coding.wrap(piece[done:])
            middle = whole.index(b"\r\n") + 2 + (split - done)
            yield Send(whole[:middle])
            yield from _stall(mark.stall or {}, delivery, coding, quiet=True)
            yield Send(whole[middle:])
            return
        if split > done:
            yield Send(coding.wrap(piece[done:split]))
        yield from _at_mark(mark, piece[split:], delivery, coding)
        done = split
    yield Send(coding.wrap(piece[done:]))


def _at_mark(mark: Mark, rest: bytes, delivery: Delivery, coding: Coding) -> Iterator[Step]:
    if mark.stall is not None:
        yield from _stall(mark.stall, delivery, coding)
    if mark.cut == "clean":
        yield Send(coding.end())
    elif mark.cut == "truncated_chunk":
        yield Send(b"%x\r\n%b" % (len(rest) + 64, rest[: len(rest) // 2]))
    elif mark.cut == "bad_chunk":
        yield Send(b"zz\r\n" + rest[:16] + b"\r\n")
    if mark.cut is not None:
        # A clean end says nothing of the connection, which closes all the same.
        yield Cut(mark.cut if mark.cut in ("reset", "half_close") else "close")


def _stall(stall: Json, delivery: Delivery, coding: Coding, quiet: bool = False) -> Iterator[Step]:
    gate, milliseconds = stall.get("gate"), stall.get("ms")
    left = math.inf if milliseconds is None else milliseconds / 1000
    every = math.inf if quiet or delivery.keepalive is None else delivery.keepalive
    while left > 0 and not delivery.gate_open(gate):
        rest = min(left, every)
        yield Wait(gate, None if rest == math.inf else rest)
        left = left - every if every < math.inf else 0
        if left > 0 and not delivery.gate_open(gate):
            yield Send(coding.wrap(delivery.silence_event()))
