"""A wait that doubles each time it is needed again."""

import random
from collections.abc import Callable


class Pause:
    """Keeps a failing thing from being tried all the time.

    Args:
        first: Milliseconds of the first wait.
        longest: Milliseconds of the longest one; after twice that in quiet the first is due again.
        chance: Random numbers from [0, 1); up to a quarter of a wait is cut off by them.
    """

    def __init__(self, first: int, longest: int, chance: Callable[[], float] = random.random) -> None:
        self._first = first
        self._longest = longest
        self._chance = chance
        self.reset()

    def reset(self) -> None:
        """Forgets every failure."""
        self._wait = 0
        self._since = 0
        self._until = 0

    def lengthen(self, now: int) -> None:
        """Begins a wait, longer than the one before."""
        if now - self._since > 2 * self._longest:
            self._wait = 0
        self._wait = min(self._wait * 2 or self._first, self._longest)
        self._since = now
        self._until = now + int(self._wait * (1 - self._chance() / 4))

    def remaining(self, now: int) -> int:
        """Milliseconds until the next try; 0 when it may be made now."""
        # A clock that was set back must not turn a second into a day.
        return self._until - now if self._since <= now < self._until else 0
