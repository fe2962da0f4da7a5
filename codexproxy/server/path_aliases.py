"""Every route also answers without ``/v1``, with ``/v1/v1``, and with a trailing slash.

Clients disagree on whether the base URL ends in ``/v1``; some append their own
 (docs/reference/clients.md#addresses-that-front-ends-compose). Routes are therefore registered once, without it.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

_PREFIX = re.compile(r"^(?:/+v1(?=/|$))+")

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


def canonical(path: str) -> str:
    """The path under which a route is registered."""
    return re.sub(r"/{2,}", "/", _PREFIX.sub("", path)).rstrip("/") or "/"


class CanonicalPaths:
    """WSGI middleware that hands the canonical path to the application.

    The path as asked for stays in ``codexproxy.path``, for messages.
    """

    def __init__(self, app: WsgiApp) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        environ["codexproxy.path"] = path
        environ["PATH_INFO"] = canonical(path)
        return self._app(environ, start_response)
