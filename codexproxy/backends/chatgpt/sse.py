"""Server-sent events: bytes in any chunking -> events.

Blocks of the exact form ``event: …\\ndata: {…}\\n\\n``, which is what upstream
sends, take a short way; everything else (CR line ends, comments, several data
lines, a missing event name) goes to sseclient-py. Both give the same events
for any bytes; a property test holds them to it.
"""

import re

from sseclient import SSEClient

from codexproxy.errors import UpstreamFailed
from codexproxy.turns.events import Batch, Event, decode_object

# An event larger than this is no event; without a bound a broken upstream fills the memory.
MAX_FRAME_BYTES = 64 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
# WHATWG HTML §9.2.5: a line ends with CRLF, LF or CR; an empty line ends the event.
_FRAME_END = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_DONE = "[DONE]"


class Decoder:
    """Splits one stream's bytes into events.

    Feed it network reads of any size; what is not complete waits inside.
    """

    def __init__(self) -> None:
        self._fault: UpstreamFailed | None = None
        self._rest = b""
        # What came behind the rest and ends no line; put together only when a line ends.
        self._more: list[bytes] = []
        self._size = 0
        self._started = False
        # First line of a block -> its event type and how that type's JSON begins.
        self._known: dict[bytes, tuple[str, bytes]] = {}

    @property
    def has_begun_event(self) -> bool:
        """Whether the first part of an event, and not of a mere comment, waits for its rest."""
        return bool(self._rest) and not self._rest.startswith(b":")

    def feed(self, data: bytes) -> Batch:
        """The events that these bytes complete, up to one that is none.

        Raises:
            UpstreamFailed: The very next event is too large, or is not JSON.
        """
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
        if self._fault is not None:
            raise self._fault

    def _fed(self, data: bytes) -> Batch:
        if self._rest and b"\n" not in data and b"\r" not in data:
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
        return self._general(rest + b"\n\n") if rest.strip() else []

    def _keep(self, rest: bytes) -> Batch:
        self._rest = b""
        self._size = 0
        return self._hold(rest)

    def _hold(self, data: bytes) -> Batch:
        self._size += len(data)
        if self._size > MAX_FRAME_BYTES:
            self._fault = UpstreamFailed("Upstream sent an event that is too large.", code="upstream_truncated")
        elif self._rest:
            self._more.append(data)
        else:
            self._rest = data
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
            head, found, payload = block.partition(b"\ndata: ")
            known = self._known.get(head) or self._learn(head)
            if found and known and payload.startswith(known[1]) and b"\n" not in payload:
                events.append(Event(known[0], block + b"\n\n", payload))
            elif block:
                events += self._general(block + b"\n\n")
            if self._fault is not None:
                break
        return events

    def _learn(self, head: bytes) -> tuple[str, bytes] | None:
        name = head.removeprefix(b"event: ")
        if name == head or b"\n" in name or not name.isascii() or len(self._known) > 256:
            return None
        known = (name.decode().strip(), b'{"type":"' + name + b'"')
        self._known[head] = known
        return known

    def _feed_general(self, buffer: bytes) -> Batch:
        # A frame that ends in CR may turn out to end in CRLF; the LF then opens
        # the next frame as an empty line, which means nothing; ``_whole`` puts it back.
        events: Batch = []
        start = 0
        for match in _FRAME_END.finditer(buffer):
            events += self._general(buffer[start : match.end()])
            start = match.end()
            if self._fault is not None:
                return events
        return events + self._keep(buffer[start:])

    def _general(self, block: bytes) -> Batch:
        text = block.decode(errors="replace").encode()
        messages = [message for message in SSEClient(iter([text])).events() if message.data.strip() != _DONE]
        raw = _whole(block)
        try:
            return [_event(message.event, message.data.encode(), raw) for message in messages]
        except UpstreamFailed as error:
            self._fault = error
            return []


def _whole(block: bytes) -> bytes:
    # Wherever the network cut the stream, an event is passed on with the same line ends.
    raw = block.lstrip(b"\r\n")
    return raw + b"\n" if raw.endswith(b"\r\n\r") else raw


def _event(name: str, payload: bytes, raw: bytes) -> Event:
    # The JSON's own type rules: ``event:`` lines are optional (UPSTREAM.md §4.1) and have been seen to differ.
    data = decode_object(payload)
    kind = data.get("type")
    return Event(kind if isinstance(kind, str) else name, raw, payload, data)
