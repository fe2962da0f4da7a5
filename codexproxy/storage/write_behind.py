"""Writing behind the request's back: it hands over a row and goes on."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import gevent
from gevent.lock import BoundedSemaphore

from codexproxy.errors import ProxyError

Row = TypeVar("Row")

# Rows that may wait; a disk that is full for hours costs the oldest ones.
MOST = 10_000
# Seconds that rows are gathered, and the pause after a failure.
GATHER = 1.0
PAUSE = 30.0

log = logging.getLogger(__name__)


class WriteBehind(Generic[Row]):
    """Gathers rows and writes them in batches, in a thread of the worker's pool.

    Nothing here waits or raises for the request that hands a row over. A row that no
    storage takes is dropped, and costs no other row.

    Args:
        write: Writes some rows; runs in one thread at a time.
        what: What the rows are, for log lines.
        gather: Seconds that rows are gathered.
        pause: Seconds to wait after a failure.
        most: Rows that may wait.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Row]], None],
        what: str,
        *,
        gather: float = GATHER,
        pause: float = PAUSE,
        most: int = MOST,
    ) -> None:
        self._write = write
        self._what = what
        self._gather = gather
        self._pause = pause
        self._waiting: deque[Row] = deque(maxlen=most)
        self._writer: Any = None
        self._writing = BoundedSemaphore(1)
        self._lost = 0

    def add(self, row: Row) -> None:
        """Takes a row; the oldest waiting one gives way when there are too many."""
        self._lost += len(self._waiting) == self._waiting.maxlen
        self._waiting.append(row)
        if self._writer is None:
            self._writer = gevent.spawn_later(self._gather, self._work)

    def close(self) -> None:
        """Writes what waits, before the process ends."""
        self._save()

    def _work(self) -> None:
        pause = 0.0
        try:
            while self._waiting:
                gevent.sleep(pause)
                pause = self._gather if self._save() else self._pause
        finally:
            # Whatever ended it, the next row begins another.
            self._writer = None

    def _save(self) -> bool:
        with self._writing:
            rows = list(self._waiting)
            self._waiting.clear()
            left = self._left_of(rows)
            self._give_back(left)
            if rows and not left and self._lost:
                log.warning("%d of %s were lost, since they could not be written for too long", self._lost, self._what)
                self._lost = 0
            return not left

    def _left_of(self, rows: list[Row]) -> list[Row]:
        """Writes the rows; returns those to be tried again, without any that can never be written."""
        failure = gevent.get_hub().threadpool.apply(self._attempt, (rows,)) if rows else None
        if failure is None:
            return []
        if isinstance(failure, ProxyError):
            log.warning("%s could not be written and will be tried again: %s", self._what, failure.message)
            return rows
        if len(rows) == 1:
            log.error("one of %s was dropped, since it cannot be written: %r", self._what, failure)
            return []
        half = len(rows) // 2
        left = self._left_of(rows[:half])
        return left + (rows[half:] if left else self._left_of(rows[half:]))

    def _attempt(self, rows: list[Row]) -> Exception | None:
        # Returned, since the pool prints what is raised in its threads.
        try:
            self._write(rows)
        except Exception as failure:  # judged by the caller, outside of the thread
            return failure
        return None

    def _give_back(self, rows: list[Row]) -> None:
        newer = list(self._waiting)
        room = (self._waiting.maxlen or 0) - len(newer)
        self._lost += max(0, len(rows) - room)
        self._waiting.clear()
        self._waiting.extend([*rows, *newer])
