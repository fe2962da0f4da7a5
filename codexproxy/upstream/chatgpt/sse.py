"""Server-sent events: bytes in any chunking -> events.

Blocks of the exact form ``event: …\\ndata: {…}\\n\\n``, which is what upstream
sends, take a short way; everything else (CR line ends, comments, several data
lines, a missing or unknown event name) goes to sseclient-py. Both give the
same events for any bytes; a property test holds them to it.

A message that is no JSON object ends the answer when its ``event:`` names a
type we know, and is passed over otherwise, as the Codex CLI does.
"""

import re
from collections.abc import Callable

from sseclient import SSEClient

from codexproxy.errors import UpstreamFailed
from codexproxy.protocol.events import KNOWN, Batch, Event, decode_object

# An event larger than this is no event; without a bound a broken upstream fills the memory.
MAX_FRAME_BYTES = 64 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
# WHATWG HTML §9.2.5: a line ends with CRLF, LF or CR; an empty line ends the event.
_FRAME_END = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
# Bytes of such an end that can come before its last one.
_LONGEST_END = 3
_DONE = "[DONE]"

# How a block begins whose first line is known, the event's type, and where its data begin.
_Start = tuple[bytes, str, int]
# Nothing that takes the short way begins so.
_NO_START: _Start = (b"\r", "", 1)
# First line of a block -> how such a block begins; the same few in every stream.
_STARTS: dict[bytes, _Start] = {}
_MOST_STARTS = 256
_LONGEST_NAME = 100


# Told the event name of each message that was passed over.
Skipped = Callable[[str], object]


def untold(name: str) -> None:
    """For decoders whose skipped messages nobody counts."""


class Decoder:
    """Splits one stream's bytes into events.

    Feed it network reads of any size; what is not complete waits inside.

    Args:
        skipped: Told of each message that is no JSON object and of no type we know.

    Attributes:
        fault: Why what came behind the events given out so far is no event; None as long as all is well.
    """

    __slots__ = ("_last", "_more", "_rest", "_size", "_skipped", "_started", "_tail", "fault")

    def __init__(self, skipped: Skipped = untold) -> None:
        self.fault: UpstreamFailed | None = None
        self._rest = b""
        # What came behind the rest and ends no frame; put together only when one ends.
        self._more: list[bytes] = []
        self._tail = b""
        self._size = 0
        self._started = False
        self._skipped = skipped
        self._last = _NO_START

    @property
    def has_begun_event(self) -> bool:
        """Whether the first part of an event, and not of a mere comment, waits for its rest."""
        return bool(self._rest) and not self._rest.startswith(b":")

    def feed(self, data: bytes) -> Batch:
        """The events that these bytes complete, up to one that is none.

        Raises:
            UpstreamFailed: The very next event is too large, or is not JSON.
        """
        if not self._rest:
            begins, type, cut = self._last
            if (
                data.startswith(begins)
                and data.find(b"\n", cut) == len(data) - 2
                and data.endswith(b"\n")
                and b"\r" not in data
            ):
                # One whole event of the type that came last: the rule in a paced stream.
                return [Event(type, data, data[cut:-2])]
        self.check()
        events = self._fed(data)
        if not events:
            self.check()
        return events

    def check(self) -> None:
        """Nothing, as long as all is well.

        Raises:
            UpstreamFailed: What came behind the events given out so far is no event.
        """
        if self.fault is not None:
            raise self.fault

    def _fed(self, data: bytes) -> Batch:
        if self._rest and self._started and not self._ends_frame(data):
            return self._hold(data)
        buffer = self._take() + data if self._rest else data
        if not self._started:
            if len(buffer) < len(_BOM) and _BOM.startswith(buffer):
                return self._keep(buffer)
            buffer = buffer.removeprefix(_BOM)
            self._started = True
        if b"\r" in buffer:
            return self._feed_general(buffer)
        end = buffer.rfind(b"\n\n")
        if end < 0:
            return self._keep(buffer)
        return self._blocks(buffer[:end].split(b"\n\n")) + self._keep(buffer[end + 2 :])

    def end(self) -> Batch:
        """A last event whose blank line is missing, when it came whole.

        Upstream may close right behind the terminal event's data; a frame that
        was cut off is not JSON any more and is dropped.
        """
        rest = self._take()
        self._skipped = untold
        return self._general(rest + b"\n\n") if rest.strip() else []

    def _ends_frame(self, data: bytes) -> bool:
        # Looked for where it may be new only: a frame of many lines is put together once, not with each of them.
        if b"\n" not in data and b"\r" not in data:
            return False
        window = self._tail + data
        return _FRAME_END.search(window) is not None if b"\r" in window else b"\n\n" in window

    def _keep(self, rest: bytes) -> Batch:
        self._rest = b""
        self._size = 0
        return self._hold(rest)

    def _hold(self, data: bytes) -> Batch:
        self._size += len(data)
        if self._size > MAX_FRAME_BYTES:
            self._fail(UpstreamFailed("Upstream sent an event that is too large.", code="upstream_truncated"))
        elif self._rest:
            self._more.append(data)
            self._tail = (self._tail + data[-_LONGEST_END:])[-_LONGEST_END:]
        else:
            self._rest = data
            self._tail = data[-_LONGEST_END:]
        return []

    def _take(self) -> bytes:
        rest = b"".join([self._rest, *self._more])
        self._more.clear()
        self._rest = b""
        self._size = 0
        return rest

    def _blocks(self, blocks: list[bytes]) -> Batch:
        events: Batch = []
        for block in blocks:
            head = block[: block.find(b"\n")]
            start = _STARTS.get(head) or _learn(head)
            if start and block.startswith(start[0]) and block.find(b"\n", start[2]) < 0:
                events.append(Event(start[1], block + b"\n\n", block[start[2] :]))
                self._last = start
            elif block:
                events += self._general(block + b"\n\n")
            if self.fault is not None:
                break
        return events

    def _feed_general(self, buffer: bytes) -> Batch:
        # A frame that ends in CR may turn out to end in CRLF; the LF then opens
        # the next frame as an empty line, which means nothing; ``_whole`` puts it back.
        events: Batch = []
        start = 0
        for match in _FRAME_END.finditer(buffer):
            events += self._general(buffer[start : match.end()])
            start = match.end()
            if self.fault is not None:
                return events
        return events + self._keep(buffer[start:])

    def _general(self, block: bytes) -> Batch:
        text = block.decode(errors="replace").encode()
        messages = [message for message in SSEClient(iter([text])).events() if message.data.strip() != _DONE]
        raw = _whole(block)
        events: Batch = []
        for message in messages:
            try:
                events.append(_event(message.event, message.data.encode(), raw))
            except UpstreamFailed as error:
                if message.event in KNOWN:
                    self._fail(error)
                    return []
                self._skipped(message.event)
        return events

    def _fail(self, fault: UpstreamFailed) -> None:
        self.fault = fault
        # Nothing is taken the short way any more.
        self._last = _NO_START


def _learn(head: bytes) -> _Start | None:
    name = head.removeprefix(b"event: ")
    if name == head or len(name) > _LONGEST_NAME or name.decode(errors="replace").strip() not in KNOWN:
        return None
    if len(_STARTS) >= _MOST_STARTS:
        _STARTS.clear()
    data = head + b"\ndata: "
    start = _STARTS[head] = (data + b'{"type":"' + name + b'"', name.decode().strip(), len(data))
    return start


def _whole(block: bytes) -> bytes:
    # Wherever the network cut the stream, an event is passed on with the same line ends.
    raw = block.lstrip(b"\r\n")
    return raw + b"\n" if raw.endswith(b"\r\n\r") else raw


def _event(name: str, payload: bytes, raw: bytes) -> Event:
    # The JSON's own type rules: ``event:`` lines are optional
    # (docs/reference/codex-cli.md#what-it-needs-in-a-stream) and have been seen to differ.
    data = decode_object(payload)
    kind = data.get("type")
    return Event(kind if isinstance(kind, str) else name, raw, payload, data)
