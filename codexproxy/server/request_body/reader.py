"""The bytes of a request's body, from clients that may take their time but not for ever."""

from typing import Any

import gevent
from gunicorn.http.errors import ParseException

from codexproxy.errors import InvalidRequest

# Each bite has to arrive within the patience, and all of them within the total; nearly all bodies are one bite.
BITE = 256 * 1024
PATIENCE = 60.0
# 64 MiB at 75 kB/s.
TOTAL = 900.0


def receive(stream: Any, size: int, patience: float = PATIENCE, total: float = TOTAL) -> bytes | bytearray:
    """Reads a body.

    Args:
        stream: ``wsgi.input``.
        size: Most bytes to read.
        patience: Seconds that each bite of 256 KiB may take.
        total: Seconds that all of it may take.

    Raises:
        InvalidRequest: It came too slowly (408), or it is no proper body.
    """
    try:
        # An exception, for gunicorn to know that nothing can follow on this connection.
        with gevent.Timeout(total, TimeoutError(f"{total:g} seconds for all of it")):
            return _bites(stream, size, patience)
    except TimeoutError as error:
        raise InvalidRequest(
            f"The request's body did not arrive in time ({error}). Please send it again.",
            code="request_timeout",
            status=408,
        ) from error
    except OSError as error:
        raise InvalidRequest("The body ended before it was complete.", code="invalid_http") from error
    except ParseException as error:
        raise InvalidRequest(f"The chunks of the body cannot be read: {error}", code="invalid_http") from error


def _bites(stream: Any, size: int, patience: float) -> bytes | bytearray:
    body = bytearray()
    while size > 0:
        with gevent.Timeout(patience, TimeoutError(f"{patience:g} seconds for each 256 KiB")):
            part = bytes(stream.read(min(size, BITE)))
        if not body and len(part) < BITE:
            return part
        # In place: joining all of 64 MB at the end would hold up everybody else for that long.
        body += part
        size -= len(part)
        if len(part) < BITE:
            break
    return body
