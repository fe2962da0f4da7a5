"""Connections that wait for their next request, and how they end when the worker has to.

Nearly every wait ends with a request, so none has a timer of its own: one slow
clock per worker ends those that have lasted too long.
"""

import itertools
import time
from types import TracebackType
from typing import Any

import gevent

# Seconds between two looks of the slow clock.
TICK = 1.0
# Seconds without a request after which a stopping worker hangs up. A client may
# have sent one just before it could see that the connection ends.
GRACE = 1.0


class _Wait(BaseException):
    """The wait of one connection; a ``with`` block that ends silently when it is raised inside."""

    def __init__(self, waits: "dict[_Wait, Any]") -> None:
        self.began = time.monotonic()
        self._waits = waits

    def __enter__(self) -> None:
        self._waits[self] = gevent.getcurrent()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._waits.pop(self, None)
        return value is self


class IdleConnections:
    """The waiting connections of one worker.

    Args:
        seconds: How long each may wait; the slow clock may add a second.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # In the order in which they began.
        self._waits: dict[_Wait, Any] = {}
        self._clock: gevent.Greenlet | None = None

    def waiting(self) -> _Wait:
        """A ``with`` block around the wait for a request."""
        if self._clock is None:
            self._clock = gevent.spawn(self._tick)
        return _Wait(self._waits)

    def hang_up(self, grace: float = GRACE) -> None:
        """Ends the waits that have lasted for the grace."""
        latest = time.monotonic() - grace
        callback = gevent.get_hub().loop.run_callback
        for wait in itertools.takewhile(lambda wait: wait.began <= latest, self._waits):
            callback(self._end, wait)

    def _end(self, wait: _Wait) -> None:
        # In the meantime the request may have come after all.
        greenlet = self._waits.pop(wait, None)
        if greenlet is not None:
            greenlet.throw(wait)

    def _tick(self) -> None:
        while True:
            gevent.sleep(TICK)
            self.hang_up(self._seconds)
