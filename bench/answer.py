"""One HTTP answer, read from bytes as they come. Pure."""

import re

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked")
_CLOSES = re.compile(rb"(?i)\r\nconnection: *close")


class Answer:
    """Takes an answer apart; feed it reads of any size.

    Attributes:
        status: The HTTP status; 0 until the head is there.
        ended: Whether the body is complete. A body that ends with its connection never is.
        closes: Whether the server will close the connection behind it.
    """

    def __init__(self) -> None:
        self.status = 0
        self.ended = False
        self.closes = False
        self._rest = b""
        self._chunked = False
        # Bytes of the body, or of the chunk, that are still to come; None: until the connection ends.
        self._left: int | None = None

    def feed(self, data: bytes) -> bytes:
        """The body's bytes that this read brought.

        Raises:
            ValueError: These bytes are not HTTP.
        """
        if not self.status:
            data = self._read_head(data)
            if not self.status:
                return b""
        if self._chunked:
            return self._unchunk(data)
        if self._left is not None:
            self._left -= len(data)
            self.ended = self._left <= 0
        return data

    def _read_head(self, data: bytes) -> bytes:
        self._rest += data
        end = self._rest.find(b"\r\n\r\n")
        if end < 0:
            return b""
        head, body, self._rest = self._rest[: end + 2], self._rest[end + 4 :], b""
        version, status = head.split(b" ", 2)[:2]
        self.status = int(status)
        self.closes = version == b"HTTP/1.0" or bool(_CLOSES.search(head))
        self._chunked = bool(_CHUNKED.search(head))
        length = _LENGTH.search(head)
        if self._chunked:
            self._left = 0
        elif length:
            self._left = int(length[1])
        return body

    def _unchunk(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        buffer = self._rest + data if self._rest else data
        position = 0
        while not self.ended and position < len(buffer):
            if self._left:
                taken = buffer[position : position + self._left]
                parts.append(taken)
                position += len(taken)
                self._left -= len(taken)
                continue
            # A chunk's data is followed by CR LF, then by the next size's line.
            start = position + 2 if buffer.startswith(b"\r\n", position) else position
            line_end = buffer.find(b"\r\n", start)
            if line_end < 0:
                break
            self._left = int(buffer[start:line_end].split(b";")[0], 16)
            position = line_end + 2
            self.ended = self._left == 0
        self._rest = buffer[position:]
        return b"".join(parts)
