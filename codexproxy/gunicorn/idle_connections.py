"""Connections that wait for something from their client, and how they end when the worker has to.

Nearly every wait ends with a request, so none has a timer of its own: one slow
clock ends those that have lasted too long.
"""

import itertools
import sys
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

    def __init__(self, connections: "IdleConnections") -> None:
        self.began = time.monotonic()
        # Who waits, while it does.
        self.greenlet: Any = None
        self._connections = connections

    def __enter__(self) -> None:
        self._connections.enter(self)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._connections.leave(self)
        return value is self


class IdleConnections:
    """The waiting connections of one worker.

    Args:
        seconds: How long each may wait; the slow clock may add a second.
        most: How many may wait at a time. One more, and the one that has waited longest has to go:
            clients that have something to say are done in no time, whatever address they come from.
    """

    def __init__(self, seconds: float, most: int = sys.maxsize) -> None:
        self._seconds = seconds
        self._most = most
        # In the order in which they began.
        self._waits: dict[_Wait, None] = {}
        self._clock: gevent.Greenlet | None = None

    def __len__(self) -> int:
        return len(self._waits)

    def waiting(self) -> _Wait:
        """A ``with`` block around a wait."""
        if self._clock is None:
            self._clock = gevent.spawn(self._tick)
        return _Wait(self)

    def enter(self, wait: _Wait) -> None:
        """The calling greenlet begins to wait."""
        wait.greenlet = gevent.getcurrent()
        self._waits[wait] = None
        if len(self._waits) > self._most:
            oldest = next(iter(self._waits))
            del self._waits[oldest]
            gevent.get_hub().loop.run_callback(_end, oldest)

    def leave(self, wait: _Wait) -> None:
        """A wait is over."""
        wait.greenlet = None
        self._waits.pop(wait, None)

    def hang_up(self, grace: float = GRACE) -> None:
        """Ends the waits that have lasted for the grace."""
        latest = time.monotonic() - grace
        callback = gevent.get_hub().loop.run_callback
        for wait in itertools.takewhile(lambda wait: wait.began <= latest, self._waits):
            callback(_end, wait)

    def _tick(self) -> None:
        while True:
            gevent.sleep(TICK)
            self.hang_up(self._seconds)


def _end(wait: _Wait) -> None:
    # In the meantime the request may have come after all.
    if wait.greenlet is not None:
        wait.greenlet.throw(wait)
