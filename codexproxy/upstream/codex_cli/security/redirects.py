"""Whether a local server sends its callers to another machine.

The CLI follows redirects. Its wall (``local_only.walled_in``) keeps it from
arriving anywhere, but it would try for as long as it may, so a local provider
is asked first where it leads.
"""

import http.client
import ssl
import time
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

from codexproxy.upstream.codex_cli.security.loopback import is_local_url

# How long, in seconds, an answer counts, and how long we wait for one.
REMEMBERED = 60.0
PATIENCE = 3.0

# As many hops as the CLI's client follows.
MOST_HOPS = 10

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Redirects:
    """Asks local servers where they lead, each once in a while.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, bool]] = {}

    def leads_elsewhere(self, base_url: str) -> bool:
        """Whether requests to this local URL end on another machine, as far as the server tells."""
        asked, elsewhere = self._known.get(base_url, (float("-inf"), False))
        if self._clock() - asked >= REMEMBERED:
            elsewhere = _leads_elsewhere(f"{base_url.rstrip('/')}/responses")
            self._known[base_url] = (self._clock(), elsewhere)
        return elsewhere


def _leads_elsewhere(url: str) -> bool:
    for _ in range(MOST_HOPS):
        if not is_local_url(url):
            return True
        target = _redirect_of(url)
        if target is None:
            return False
        url = urljoin(url, target)
    return True


def _redirect_of(url: str) -> str | None:
    """Where one request is sent on to; None when it is answered, or by nobody."""
    parts = urlsplit(url.replace("ws", "http", 1) if url.lower().startswith("ws") else url)
    connection = _connection(parts.scheme.lower(), parts.hostname or "", parts.port)
    try:
        # Nothing of anybody's is in this request.
        connection.request("POST", parts.path or "/", body=b"{}", headers={"content-type": "application/json"})
        response = connection.getresponse()
        return response.getheader("location") if response.status in _REDIRECTS else None
    except (OSError, http.client.HTTPException):
        # Whatever is wrong with it, the CLI will tell.
        return None
    finally:
        connection.close()


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        # Whose certificate it is does not matter for where it leads.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=context)
    return http.client.HTTPConnection(host, port, timeout=PATIENCE)
