"""When a worker that was told to stop ends what is still under way.

gunicorn tells a worker to stop with the same signal whether the whole service
stops or the worker is only replaced. In the first case the master kills
whoever is left after ``graceful_timeout``; in the second it waits. So the
master announces a replacement with a signal of its own, and says so again
when the service stops after all (see ``master``).
"""

import time
from collections.abc import Callable

# Seconds before the master's deadline at which open streams are told to end.
MARGIN = 3.0
# Seconds that streams have for their last words.
LAST_WORDS = 2.0
# A replaced worker goes on accepting this long, since its successor has yet to load the application.
HANDOVER = 2.0
# A replaced worker waits this long for its streams; every turn has its own, shorter limit.
REPLACED = 3600.0


class Stopping:
    """The deadlines of one worker.

    Args:
        graceful: gunicorn's ``graceful_timeout``, in seconds.
        clock: Monotonic seconds.
    """

    def __init__(self, graceful: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = max(graceful - MARGIN, graceful / 2)
        self._clock = clock
        self._first_told: float | None = None
        self._last_told: float | None = None
        self._replaced = False
        self._at_once = False

    def told(self) -> None:
        """The master said stop; while it replaces workers it says so again and again."""
        self._last_told = self._clock()
        self._first_told = self._first_told or self._last_told

    def announced(self) -> None:
        """The master's own signal: first "you are replaced", then "the service stops after all"."""
        self._replaced = not self._replaced

    def quit(self) -> None:
        """The service stops now."""
        self._at_once = True

    def may_accept(self) -> bool:
        """Whether a worker that was told to stop still takes new connections."""
        if not self._replaced or self._at_once or self._first_told is None:
            return False
        return self._clock() < self._first_told + HANDOVER

    def streams_must_end(self) -> bool:
        """Whether open streams have to be told to end; the first call counts as being told to stop."""
        if self._first_told is None or self._last_told is None:
            self.told()
            return self.streams_must_end()
        if self._replaced:
            return self._at_once or self._clock() >= self._first_told + REPLACED
        # Once the service stops, the master says so one last time.
        return self._at_once or self._clock() >= self._last_told + self._patience
