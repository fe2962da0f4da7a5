"""HTTP parsing in bounded steps: gunicorn's parser, with the size of heads, trailers and chunk framing limited.

gunicorn searches all of a head again after each read, which is quadratic for heads that come in small
pieces, and reads chunks of one byte as patiently as large ones. So it gets heads whole, and bodies are
watched for what they cost beyond their content.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import LimitRequestHeaders, ParseException
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader

from codexproxy.server.request_body.fairness import let_others_run

# Bytes of a request's head: its first line and all of its fields. A single field may have half of it.
LONGEST_HEAD = 64 * 1024
LONGEST_TRAILERS = 8 * 1024
# Bytes of a chunked body that are not content: so many in any case (some 10,000 chunks), and a share of the content.
# Chunks of 200 bytes and more never get there.
MOST_FRAMING = 64 * 1024
FRAMING_SHARE = 32

_END = b"\r\n\r\n"
_BARE_LF = re.compile(rb"[^\r]\n")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

Patience = Callable[[], AbstractContextManager[object, bool]]


class SlowHead(ParseException):  # type: ignore[misc]
    """The head of a request did not arrive in time."""

    def __init__(self) -> None:
        super().__init__("the request line and its fields did not arrive in time")


class ExcessiveFraming(ParseException):  # type: ignore[misc]
    """A chunked body is framing for the most part."""

    def __init__(self) -> None:
        super().__init__("they are too small, or have long extensions. Please send chunks of 1 KiB or more")


class ClientUnreader(SocketUnreader):  # type: ignore[misc]
    """What a client sends, head by head; lets others run between two reads.

    Args:
        sock: The client's socket.
        patience: A ``with`` block that ends silently when the rest of a head takes too long.
    """

    def __init__(self, sock: Any, patience: Patience) -> None:
        super().__init__(sock)
        self.received = 0
        # Whether the client waits for a "100 Continue" before it sends the body.
        self.invites = False
        self._patience = patience
        self._in_head = False
        self._first_line = False
        self._size = 0
        self._tail = b""

    def chunk(self, size_hint: int | None = None) -> bytes:
        """One read from the socket; asks for the body first where the client waits for that."""
        if self.invites:
            self.invites = False
            self.sock.sendall(_CONTINUE)
        data: bytes = super().chunk(size_hint)
        self.received += len(data)
        let_others_run()
        return data

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        """As gunicorn has it, but for a head: that comes whole, or as far as a parser needs it to refuse it."""
        if self._in_head:
            return self._head_piece()
        data: bytes = super().read(size, read_ahead)
        return data

    @contextmanager
    def head(self) -> Iterator[None]:
        """A ``with`` block in which a head is read."""
        self.invites = False
        self._in_head, self._first_line, self._size = True, False, 0
        # What stands before a head ends no line.
        self._tail = b"  "
        try:
            yield
        finally:
            self._in_head = False

    def _head_piece(self) -> bytes:
        head = bytearray()
        if not self._size:
            # The wait for a request is no part of its head.
            head += super().read()
            if not head or self._suffices(head):
                return bytes(head)
        with self._patience():
            while data := super().read():
                head += data
                if self._suffices(data):
                    break
            return bytes(head)
        raise SlowHead

    def _suffices(self, piece: bytes | bytearray) -> bool:
        """Whether a head is complete with this piece, or already known to be none."""
        joined = self._tail + piece
        self._size += len(piece)
        if _END in joined:
            return True
        if self._size > LONGEST_HEAD:
            raise LimitRequestHeaders(f"the request line and all fields may have {LONGEST_HEAD} bytes together")
        self._tail = joined[-3:]
        # A first line can be refused before the rest is here.
        had_line, self._first_line = self._first_line, self._first_line or b"\r\n" in joined
        return self._first_line > had_line or _BARE_LF.search(joined) is not None


class ClientRequest(Request):  # type: ignore[misc]
    """A request with a bounded head and bounded framing; invites its body only when that is read."""

    unreader: ClientUnreader
    body: Any
    _expected_100_continue: bool

    def parse(self, unreader: ClientUnreader) -> bytes:
        """Reads the head."""
        self.max_buffer_headers = LONGEST_HEAD
        with unreader.head():
            rest: bytes = super().parse(unreader)
        return rest

    def set_body_reader(self) -> None:
        """Chooses how the body is read."""
        super().set_body_reader()
        if isinstance(self.body.reader, ChunkedReader):
            self.body.reader = BoundedChunks(self, self.unreader)
        # gunicorn would invite before the application could refuse the key, the address or the size.
        self.unreader.invites, self._expected_100_continue = self._expected_100_continue, False


class BoundedChunks(ChunkedReader):  # type: ignore[misc]
    """A chunked body that may not consist of framing for the most part."""

    parser: Any

    def __init__(self, req: ClientRequest, unreader: ClientUnreader) -> None:
        super().__init__(req, unreader)
        self.limit_trailer_section = LONGEST_TRAILERS
        self.parser = self._bounded(self.parser)
        self._unreader = unreader
        self._before = unreader.received

    @property
    def wire(self) -> int:
        """Bytes that were read from the socket for this body, but for what came together with the head."""
        return self._unreader.received - self._before

    def _bounded(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        content = 0
        for piece in pieces:
            content += len(piece)
            if self.wire - content > MOST_FRAMING + content // FRAMING_SHARE:
                raise ExcessiveFraming
            yield piece


class ClientParser(RequestParser):  # type: ignore[misc]
    """The requests of one connection, one after the other.

    Args:
        cfg: gunicorn's settings.
        sock: The client's socket.
        address: The client's address.
        patience: A ``with`` block that ends silently when the rest of a head takes too long.
    """

    mesg_class = ClientRequest

    def __init__(self, cfg: Any, sock: Any, address: Any, patience: Patience) -> None:
        super().__init__(cfg, sock, address)
        self.unreader = ClientUnreader(sock, patience)

    def __next__(self) -> ClientRequest:
        """The next request."""
        # Many requests may stand in what one read brought.
        let_others_run()
        request: ClientRequest = super().__next__()
        return request
