"""Connections that wait for their next request, and how they end when the worker has to."""

import time
from typing import Any

import gevent

# Seconds without a request after which a stopping worker hangs up. A client may
# have sent one just before it could see that the connection ends.
GRACE = 1.0


class _Wait(gevent.Timeout):  # type: ignore[misc]
    """The wait of one connection; a ``with`` block that ends silently when the time is over."""

    def __init__(self, seconds: float, waits: "dict[_Wait, Any]") -> None:
        super().__init__(seconds, False)
        self.began = time.monotonic()
        self._waits = waits

    def __enter__(self) -> Any:
        self._waits[self] = gevent.getcurrent()
        return super().__enter__()

    def __exit__(self, *details: Any) -> Any:
        self._waits.pop(self, None)
        return super().__exit__(*details)


class IdleConnections:
    """The waiting connections of one worker."""

    def __init__(self) -> None:
        self._waits: dict[_Wait, Any] = {}

    def waiting(self, seconds: float) -> _Wait:
        """A ``with`` block around the wait for a request, at most so many seconds long."""
        return _Wait(seconds, self._waits)

    def hang_up(self, grace: float = GRACE) -> None:
        """Ends the waits that have lasted for the grace."""
        now = time.monotonic()
        for wait, greenlet in list(self._waits.items()):
            if now - wait.began >= grace:
                self._waits.pop(wait)
                gevent.kill(greenlet, wait)
