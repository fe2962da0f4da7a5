"""What a client still sends of a body that nobody wants."""

from types import TracebackType
from typing import Any, Protocol

import gevent
from gunicorn.http.errors import ParseException

_BITE = 1024 * 1024
# Seconds without a word after which nothing more is expected.
SILENCE = 5.0


class Patience(Protocol):
    """A ``with`` block that may end early, and silently."""

    def __enter__(self) -> object: ...

    def __exit__(self, kind: type[BaseException] | None, value: Any, trace: TracebackType | None) -> bool: ...


def is_read(body: Any) -> bool:
    """Whether a request's body is known to be at its end; most are, and tell so at a glance."""
    return getattr(getattr(body, "reader", None), "length", None) == 0 and not body.failed


def discard_rest(body: Any, wait: Patience) -> bool:
    """Reads a request's body to its end, behind the answer.

    A connection that is closed with unread bytes is reset, and the client may
    lose the answer that says why (RFC 9112 §9.6). gunicorn would read them in
    bites of 1 KiB and without a pause, while every stream of the worker waits.

    Args:
        body: The request's body, as gunicorn reads it.
        wait: Ends its ``with`` block silently when that takes too long.

    Returns:
        Whether the end was reached; without it the connection cannot be used again.
    """
    with wait:
        return _read_away(body)
    return False


def _read_away(body: Any) -> bool:
    try:
        while True:
            with gevent.Timeout(SILENCE, TimeoutError()):
                if not body.read(_BITE):
                    return True
            gevent.sleep(0)
    except (OSError, ParseException):
        return False
