"""The bytes of a request's body, from clients that may take their time but not for ever."""

from typing import Any

import gevent
from gunicorn.http.errors import ParseException

from codexproxy.errors import InvalidRequest

# Each bite has to arrive within the patience, which makes 4 KiB/s; nearly all bodies are one bite.
BITE = 256 * 1024
PATIENCE = 60.0


def receive(stream: Any, size: int, patience: float = PATIENCE) -> bytes:
    """Reads a body.

    Args:
        stream: ``wsgi.input``.
        size: Most bytes to read.
        patience: Seconds that each bite of 256 KiB may take.

    Raises:
        InvalidRequest: It came too slowly (408), or it is no proper body.
    """
    parts: list[bytes] = []
    try:
        while size > 0:
            # An exception, for gunicorn to know that nothing can follow on this connection.
            with gevent.Timeout(patience, TimeoutError()):
                part = bytes(stream.read(min(size, BITE)))
            parts.append(part)
            size -= len(part)
            if len(part) < BITE:
                break
    except TimeoutError as error:
        raise InvalidRequest(
            f"The request's body did not arrive: 256 KiB may take {patience:g} seconds. Please send it again.",
            code="request_timeout",
            status=408,
        ) from error
    except OSError as error:
        raise InvalidRequest("The body ended before it was complete.", code="invalid_http") from error
    except ParseException as error:
        raise InvalidRequest(f"The chunks of the body cannot be read: {error}", code="invalid_http") from error
    return parts[0] if len(parts) == 1 else b"".join(parts)
