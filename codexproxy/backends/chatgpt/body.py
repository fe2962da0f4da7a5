"""Reads a response's body as it arrives.

``iter_content`` gives one HTTP chunk per call and blocks for the next one. To
hand over all that one network read brought, whole chunks that are already
buffered are taken from the buffer without a further system call; to notice
silence, the socket is waited for before a read that would block.

The buffer is reached through private attributes of http.client and urllib3
(``tests/backends/test_body.py`` guards them); where they are missing, every
chunk is a read of its own and silence goes unnoticed.
"""

import socket
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import requests

# Bytes taken per read from a body that is not chunked.
READ_SIZE = 65536

Wait = Callable[[socket.socket, float], bool]


class Body(Protocol):
    """A body under way."""

    def read(self, patience: float) -> bytes | None:
        """What has arrived; ``b""`` after ``patience`` silent seconds; None at the end."""


def body_of(response: requests.Response, wait: Wait) -> Body:
    """The reader that suits this response.

    Args:
        response: A streamed response whose body nobody has touched yet.
        wait: Waits for a socket to have something to read; False when the seconds ran out.
    """
    wire = _wire_of(response)
    chunked = bool(getattr(response.raw, "chunked", False))
    if wire is None:
        return UnseenBody(response)
    if chunked and "content-encoding" not in response.headers:
        return ChunkedBody(response, wire, wait)
    return PlainBody(response, wire, wait, chunked)


class Wire:
    """The buffered file and the socket behind a response."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.raw = file.raw
        self.socket: socket.socket = file.raw._sock

    def buffered(self) -> bytes:
        """What is in the buffer, without asking the socket for more."""
        self.raw.readinto = _nothing
        try:
            return self.file.peek()  # type: ignore[no-any-return]
        finally:
            del self.raw.readinto

    def silent(self, wait: Wait, patience: float) -> bool:
        """Whether nothing can be read within ``patience`` seconds."""
        pending = getattr(self.socket, "pending", None)
        if pending is not None and pending():
            return False
        return not wait(self.socket, patience)


def _nothing(_: Any) -> None:
    return None


def _wire_of(response: requests.Response) -> Wire | None:
    try:
        raw: Any = response.raw
        return Wire(raw._fp.fp)
    except AttributeError:
        return None


class ChunkedBody:
    """A chunked body without content encoding: the common case, and the quick one."""

    def __init__(self, response: requests.Response, wire: Wire, wait: Wait) -> None:
        self._chunks: Iterator[bytes] = response.iter_content(chunk_size=None)
        self._wire = wire
        self._wait = wait

    def read(self, patience: float) -> bytes | None:
        """See ``Body.read``; everything one network read brought comes at once."""
        data, blocks = self._drain()
        if data:
            return data
        if blocks and self._wire.silent(self._wait, patience):
            return b""
        first = next(self._chunks, None)
        return None if first is None else first + self._drain()[0]

    def _drain(self) -> tuple[bytes, bool]:
        if self._wire.file.closed:
            return b"", False
        buffered = self._wire.buffered()
        if not buffered:
            return b"", True
        data, used, blocks = take_chunks(buffered)
        if used:
            self._wire.file.read(used)
        return data, blocks


def take_chunks(buffered: bytes) -> tuple[bytes, int, bool]:
    """Takes the complete HTTP chunks off the front of a buffer (RFC 9112 §7.1).

    Returns:
        Their data joined, the bytes they take in the buffer, and whether reading
        on would block: not when the last chunk, or garbage, is next.
    """
    parts: list[bytes] = []
    position = 0
    while True:
        line_end = buffered.find(b"\r\n", position)
        if line_end < 0:
            return b"".join(parts), position, True
        try:
            size = int(buffered[position:line_end].split(b";", 1)[0], 16)
        except ValueError:
            return b"".join(parts), position, False
        data_end = line_end + 2 + size
        if size <= 0:
            return b"".join(parts), position, buffered.find(b"\r\n\r\n", position) < 0
        if data_end + 2 > len(buffered):
            return b"".join(parts), position, True
        parts.append(buffered[line_end + 2 : data_end])
        position = data_end + 2


class PlainBody:
    """A body that ends with the connection or after its length, or that is compressed."""

    def __init__(self, response: requests.Response, wire: Wire, wait: Wait, chunked: bool) -> None:
        self._response = response
        self._wire = wire
        self._wait = wait
        self._chunks = response.iter_content(chunk_size=None) if chunked else None

    def read(self, patience: float) -> bytes | None:
        """See ``Body.read``."""
        file = self._wire.file
        if not file.closed and not self._wire.buffered() and self._wire.silent(self._wait, patience):
            return b""
        if self._chunks is not None:
            return next(self._chunks, None)
        # iter_content would hold a close-delimited body back to its end.
        return self._response.raw.read1(READ_SIZE, decode_content=True) or None


class UnseenBody:
    """A body whose socket is out of reach: read as it comes, silence unnoticed."""

    def __init__(self, response: requests.Response) -> None:
        self._chunks = response.iter_content(chunk_size=None)

    def read(self, patience: float) -> bytes | None:
        """See ``Body.read``."""
        return next(self._chunks, None)
