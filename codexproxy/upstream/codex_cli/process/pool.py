"""Pools idle processes of the Codex CLI: few, for a short time, and ended as soon as another turn needs their slot.

An idle process holds a permit like a busy one, so that the host never runs more
than it should. When anybody on the host waits for a permit, idle ones end.
"""

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

from codexproxy.upstream.base import Permit, Permits


class _Free:
    def release(self) -> None:
        """There is nothing to give back."""


class Unlimited:
    """Permits without a limit."""

    def acquire(self, *, owner: str = "") -> Permit:
        """See ``Permits.acquire``."""
        return _Free()

    def acquire_all(self, count: int, *, owner: str = "") -> Sequence[Permit]:
        """See ``Permits.acquire_all``."""
        return [_Free()] * count

    def waiting(self) -> int:
        """See ``Permits.waiting``."""
        return 0


# How often, in seconds, idle processes are looked after.
TICK = 0.05

# Longest wait, in seconds, for processes that are being ended already.
CLOSING = 5.0


class Warm(Protocol):
    """A process that can serve another turn.

    Attributes:
        stamp: What it was started with; another stamp needs another process.
    """

    stamp: Hashable

    def is_running(self) -> bool:
        """Whether it is still there."""

    def end(self) -> None:
        """Ends it and frees its permit."""


Kept = TypeVar("Kept", bound=Warm)


class Pool(Generic[Kept]):
    """The idle processes of one worker.

    Args:
        permits: Who waits for a place.
        most: How many are kept at most.
        seconds: How long one is kept.
        clock: Monotonic seconds.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        permits: Permits,
        most: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._permits = permits
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep or (lambda seconds: time.sleep(seconds))
        self._idle: list[tuple[float, Kept]] = []
        self._lock = threading.Lock()
        self._kept_by: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, stamp: Hashable) -> Kept | None:
        """An idle process with this stamp, the last one used first; None when there is none."""
        unfit: list[Kept] = []
        try:
            while True:
                with self._lock:
                    if not self._idle:
                        return None
                    _, kept = self._idle.pop()
                if kept.stamp == stamp and kept.is_running():
                    return kept
                unfit.append(kept)
        finally:
            for kept in unfit:
                kept.end()

    def give_back(self, kept: Kept) -> None:
        """Keeps a process for the next turn, or ends it when there is no place for it."""
        if self._permits.waiting() or not self._keep(kept):
            kept.end()

    def _keep(self, kept: Kept) -> bool:
        with self._lock:
            if len(self._idle) >= self._most:
                return False
            self._idle.append((self._clock(), kept))
            if self._kept_by is None:
                self._kept_by = threading.Thread(target=self._look_after, name="codex-pool", daemon=True)
                self._kept_by.start()
            return True

    def _look_after(self) -> None:
        while True:
            self._sleep(TICK)
            due = self._due()
            if due is None:
                return
            for kept in due:
                kept.end()

    def _due(self) -> list[Kept] | None:
        """Those that have to go now; None when there is nothing left to look after."""
        waiting = self._permits.waiting()
        with self._lock:
            if not self._idle:
                self._kept_by = None
                return None
            oldest = self._clock() - self._seconds
            # The longest idle ones go first.
            count = sum(1 for number, (since, _) in enumerate(self._idle) if number < waiting or since <= oldest)
            due, self._idle = self._idle[:count], self._idle[count:]
        return [kept for _, kept in due]

    def close(self) -> None:
        """Ends all idle processes, and waits for those that are being ended."""
        with self._lock:
            idle, self._idle = self._idle, []
            kept_by = self._kept_by
        for _, kept in idle:
            kept.end()
        if kept_by is not None and kept_by is not threading.current_thread():
            kept_by.join(CLOSING)
