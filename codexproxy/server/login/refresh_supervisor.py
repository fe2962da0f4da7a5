"""The watch over the logins, for as long as a worker lives."""

import time
from collections.abc import Iterable

from codexproxy.login.background_refresh import BackgroundRefresh
from codexproxy.login.credentials import Credentials

# A renewal that has begun is written down before the worker ends; the issuer's time limits are shorter.
PATIENCE = 25.0


class LoginWatch:
    """Starts and stops with its worker.

    Args:
        watched: Each login with what renews it ahead of time.
    """

    def __init__(self, watched: Iterable[tuple[Credentials, BackgroundRefresh]]) -> None:
        self._watched = list(watched)

    def start(self) -> None:
        """Begins to watch; after the fork."""
        for _, refresh in self._watched:
            refresh.start()

    def stop(self) -> None:
        """Renews nothing any more."""
        for _, refresh in self._watched:
            refresh.stop()

    def settle(self, timeout: float = PATIENCE) -> bool:
        """Waits for renewals under way; whether none is left."""
        deadline = time.monotonic() + timeout
        return all(credentials.settle(max(deadline - time.monotonic(), 0)) for credentials, _ in self._watched)
