"""Reads a response's body as it arrives.

``iter_content`` gives one HTTP chunk per call, five frames of Python deep, and
blocks for the next one. What costs most in a paced stream is just that, so
chunked bodies are read from the socket and taken apart here, all that one
network read brought at once; to notice silence, the socket is waited for first.
At its end a body is handed back to urllib3, which puts the connection into its
pool.

The socket is reached through private attributes of http.client and urllib3
(``tests/upstream/test_body.py`` guards them); where they are missing, every
chunk is a read of its own and silence goes unnoticed.
"""

import socket
from collections.abc import Callable
from typing import Any, Protocol

import requests

from codexproxy.upstream.chatgpt.chunked import Chunks

# Most bytes per read.
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
    wire = _wire_of(response, wait)
    chunked = bool(getattr(response.raw, "chunked", False))
    if wire is None:
        return UnseenBody(response)
    if chunked and "content-encoding" not in response.headers:
        return ChunkedBody(response, wire)
    return PlainBody(response, wire, chunked)


class Wire:
    """The buffered file and the socket behind a response.

    Args:
        file: The buffered file.
        wait: See ``body_of``.
    """

    __slots__ = ("_pending", "_recv", "_wait", "file", "raw", "socket")

    def __init__(self, file: Any, wait: Wait) -> None:
        self._wait = wait
        self.file = file
        self.raw = file.raw
        self.socket: socket.socket = file.raw._sock
        # TLS may hold decrypted bytes that no wait on the socket would tell of.
        self._pending: Callable[[], int] | None = getattr(self.socket, "pending", None)
        # gevent's sockets hold the system's; a read that was waited for need not go through both.
        plain = self.socket if self._pending else getattr(self.socket, "_sock", self.socket)
        self._recv: Callable[[int], bytes] = plain.recv

    def buffered(self) -> bytes:
        """What is in the buffer, without asking the socket for more."""
        self.raw.readinto = _nothing
        try:
            return self.file.peek()  # type: ignore[no-any-return]
        finally:
            del self.raw.readinto

    def take_buffered(self) -> bytes:
        """Takes what is in the buffer out of it."""
        return self.file.read(len(self.buffered()))  # type: ignore[no-any-return]

    def without_buffer(self) -> Any:
        """The file below the buffered one, which is of no use any more and holds 8 KB."""
        self.file = self.file.detach()
        return self.file

    def silent(self, patience: float) -> bool:
        """Whether nothing can be read within ``patience`` seconds."""
        if self._pending is not None and self._pending():
            return False
        return not self._wait(self.socket, patience)

    def receive(self, patience: float) -> bytes | None:
        """What the socket has within ``patience`` seconds; ``b""`` at the connection's end, None in silence."""
        if (self._pending is None or not self._pending()) and not self._wait(self.socket, patience):
            return None
        try:
            return self._recv(READ_SIZE)
        except BlockingIOError:
            return None  # What was there has gone, which a system may do to a checksum that is wrong.


def _nothing(_: Any) -> None:
    return None


def _wire_of(response: requests.Response, wait: Wait) -> Wire | None:
    try:
        raw: Any = response.raw
        return Wire(raw._fp.fp, wait)
    except AttributeError:
        return None


class ChunkedBody:
    """A chunked body without content encoding: the common case, and the quick one."""

    __slots__ = ("_chunks", "_early", "_released", "_response", "_wire")

    def __init__(self, response: requests.Response, wire: Wire) -> None:
        self._response = response
        self._wire = wire
        self._chunks = Chunks()
        # What came together with the headers.
        self._early = wire.take_buffered()
        raw: Any = response.raw
        raw._fp.fp = wire.without_buffer()
        self._released = False

    def read(self, patience: float) -> bytes | None:
        """See ``Body.read``.

        Raises:
            requests.RequestException: The body is not chunked as it should be, or was cut.
        """
        chunks = self._chunks
        if chunks.ended or chunks.fault:
            return self._end()
        fresh: bytes | None = self._early
        if fresh:
            self._early = b""
        else:
            fresh = self._wire.receive(patience)
            if fresh is None:
                return b""
            if not fresh:
                raise requests.exceptions.ChunkedEncodingError("the connection ended before the body did")
        return chunks.feed(fresh) or self._end()

    def _end(self) -> bytes | None:
        # Behind what there was to read: the end, a fault, or neither yet.
        if self._chunks.fault:
            raise requests.exceptions.ChunkedEncodingError(self._chunks.fault)
        if not self._chunks.ended:
            return b""
        self._release()
        return None

    def _release(self) -> None:
        # With the body's file closed the connection is ready for its next request.
        if not self._released and not self._chunks.rest:
            self._released = True
            raw: Any = self._response.raw
            raw._fp.close()
            raw.release_conn()


class PlainBody:
    """A body that ends with the connection or after its length, or that is compressed."""

    __slots__ = ("_chunks", "_response", "_wire")

    def __init__(self, response: requests.Response, wire: Wire, chunked: bool) -> None:
        self._response = response
        self._wire = wire
        self._chunks = response.iter_content(chunk_size=None) if chunked else None

    def read(self, patience: float) -> bytes | None:
        """See ``Body.read``."""
        file = self._wire.file
        # Behind the announced length nothing comes, also when it is nought.
        ended = file.closed or getattr(self._response.raw, "length_remaining", None) == 0
        if not ended and not self._wire.buffered() and self._wire.silent(patience):
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
