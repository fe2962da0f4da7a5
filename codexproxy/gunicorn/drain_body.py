"""What a client still sends of a body that nobody wants."""

import socket
from contextlib import AbstractContextManager, suppress
from typing import Any

import gevent
from gunicorn.http.errors import ParseException

from codexproxy.gunicorn.bounded_parser import BoundedChunks
from codexproxy.server.request_body.fairness import let_others_run

# Bytes of a body that are read although nobody wants them, for the connection to be of further use.
SMALL_REST = 64 * 1024
# Of chunks, which have to be parsed, the wire may have brought fewer.
SMALL_CHUNKS = 16 * 1024
# Seconds without a word after which nothing more is expected.
SILENCE = 5.0
_BITE = 64 * 1024
_BITE_OF_CHUNKS = 1024


def can_go_on(request: Any) -> bool:
    """Whether another request may follow on the connection: the body is read, or no more than a little of it is left.

    A client that was not invited to send its body may begin it or not, so that nothing can follow there.
    """
    body, reader = request.body, request.body.reader
    if body.failed:
        return False
    if _is_read(reader):
        return True
    little = reader.wire <= SMALL_CHUNKS if isinstance(reader, BoundedChunks) else reader.length <= SMALL_REST
    return little and not request.unreader.invites


def skip_rest(body: Any) -> bool:
    """Reads away the little that is left of a body; returns whether it came to its end."""
    reader = body.reader
    if _is_read(reader):
        return True
    with suppress(OSError, ParseException), gevent.Timeout(SILENCE, False):
        if isinstance(reader, BoundedChunks):
            while reader.wire <= SMALL_CHUNKS and not _is_read(reader):
                body.read(_BITE_OF_CHUNKS)
            return _is_read(reader)
        left: int = reader.length
        # A body that is cut short ends with fewer bytes.
        return len(body.read(left)) == left
    return False


def _is_read(reader: Any) -> bool:
    return reader.parser is None if isinstance(reader, BoundedChunks) else bool(reader.length == 0)


def linger(sock: Any, patience: AbstractContextManager[object]) -> None:
    """Lets a client finish what it is sending, without looking at it, before the connection is closed.

    A connection that is closed with unread bytes is reset, and the client may
    lose the answer that says why (RFC 9112 §9.6).

    Args:
        sock: The client's connection.
        patience: Ends its ``with`` block silently when that takes too long.
    """
    waste = bytearray(_BITE)
    with suppress(OSError), patience:
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(SILENCE)
        while sock.recv_into(waste):
            let_others_run()
