"""Bodies in the log, for the owner who asked for them (``ENABLE_REQUEST_LOGGING``, at debug).

They pass the same redaction as every line, and no more of one is shown than
helps: a request may be 64 MB.
"""

import logging
from collections.abc import Mapping
from typing import Any

import orjson

# Bytes of one body that are shown.
SHOWN = 16 * 1024

_log = logging.getLogger("codexproxy.bodies")


def allow_bodies(allowed: bool) -> None:
    """Whether bodies are logged at all; they are debug lines even then."""
    _log.setLevel(logging.NOTSET if allowed else logging.CRITICAL + 1)


def log_body(title: str, body: Mapping[str, Any] | bytes) -> None:
    """Logs one body, cut to ``SHOWN``.

    Args:
        title: Which one it is.
        body: A JSON object, or bytes that claim to be text.
    """
    if not _log.isEnabledFor(logging.DEBUG):
        return
    data = body if isinstance(body, bytes) else orjson.dumps(body, default=str)
    rest = f" … and {len(data) - SHOWN} bytes more" if len(data) > SHOWN else ""
    _log.debug("%s: %s%s", title, data[:SHOWN].decode("utf-8", "replace"), rest)
