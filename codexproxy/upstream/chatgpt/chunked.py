"""HTTP chunks taken apart (RFC 9112 §7.1). Pure."""

# A size line, extensions included, or a trailer line longer than this is no HTTP.
MAX_LINE = 16_384

_CRLF = b"\r\n"


class Chunks:
    """Splits one chunked body; feed it network reads of any size.

    Attributes:
        ended: Whether the last chunk and the trailers have come.
        fault: Why what follows is not a chunked body; None as long as it is one.
        rest: Bytes that are not taken apart yet; behind the end, what does not belong to the body.
    """

    __slots__ = ("_behind_data", "_between", "_left", "_trailing", "ended", "fault", "rest")

    def __init__(self) -> None:
        self.ended = False
        self.fault: str | None = None
        self.rest = b""
        self._left = 0
        self._behind_data = False
        self._trailing = False
        self._between = True

    def feed(self, data: bytes) -> bytes:
        """The body's bytes in this read, up to a fault; a chunk under way is handed on as far as it has come."""
        if self._between and data.endswith(_CRLF):
            # A read that is one whole chunk, the rule in a paced stream, needs only a look at both its ends.
            start = data.find(_CRLF) + 2
            try:
                if 0 < int(data[:start], 16) == len(data) - start - 2:
                    return data[start:-2]
            except ValueError:
                pass  # An extension, or no size at all; told apart below.
        return self._feed(data)

    def _feed(self, data: bytes) -> bytes:
        buffer = self.rest + data if self.rest else data
        parts: list[bytes] = []
        position, end = 0, len(buffer)
        while position < end and not self.ended and self.fault is None:
            if self._left:
                part = buffer[position : position + self._left]
                parts.append(part)
                position += len(part)
                self._left -= len(part)
                self._behind_data = not self._left
                continue
            line_end = buffer.find(_CRLF, position)
            if line_end < 0:
                break
            if self._behind_data or self._trailing:
                self._end_line(line_end == position)
            else:
                size = self._begin(buffer[position:line_end])
                stop = line_end + 2 + size
                if size and buffer.startswith(_CRLF, stop):
                    # A chunk that came as a whole.
                    parts.append(buffer[line_end + 2 : stop])
                    self._left = 0
                    line_end = stop
            position = line_end + 2
        self._keep(buffer[position:])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _begin(self, line: bytes) -> int:
        try:
            size = int(line.split(b";", 1)[0], 16)
        except ValueError:
            size = -1
        if size < 0:
            self.fault = "a chunk without a size"
            return 0
        self._left = size
        self._trailing = size == 0
        return size

    def _end_line(self, empty: bool) -> None:
        if self._trailing:
            self.ended = empty
        elif not empty:
            self.fault = "a chunk that is longer than it said"
        self._behind_data = False

    def _keep(self, rest: bytes) -> None:
        self.rest = rest
        self._between = not (rest or self._left or self._behind_data or self._trailing or self.fault)
        if len(rest) > MAX_LINE and not self.ended:
            self.fault = "a line without an end"
