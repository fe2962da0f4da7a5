"""The request as it came in: Werkzeug's, with headers that are quick to ask."""

from functools import cache
from typing import Any

from flask import Request
from werkzeug.datastructures import EnvironHeaders


class QuickHeaders(EnvironHeaders):
    """Headers of a WSGI environment; a request is asked for forty of them, most of which it lacks."""

    def get(self, key: str, default: Any = None, type: Any = None) -> Any:  # type: ignore[override]
        """The header's value, or the default."""
        value = self.environ.get(_environ_name(key))
        if value is None:
            return default
        return value if type is None else super().get(key, default, type)


@cache
def _environ_name(key: str) -> str:
    # Only names of our own code are asked for, so that this cannot grow.
    name = key.upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"


class InboundRequest(Request):
    """A request with quick headers."""

    def __init__(self, environ: dict[str, Any], *args: Any, **options: Any) -> None:
        super().__init__(environ, *args, **options)
        self.headers = QuickHeaders(environ)
