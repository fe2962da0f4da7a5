"""Waiting for a socket without a system call that fails, and without a timer of its own.

Thousands of streams wait for their next delta at any moment, and nearly every
wait ends with it: a timer per wait would be set and cleared for nothing. One
slow clock per event loop looks for those that have waited too long instead.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from gevent import Timeout, getcurrent
from gevent.monkey import is_module_patched
from gevent.socket import wait, wait_read

from codexproxy.outbound import Overdue, ending_within

# Seconds between two looks of the slow clock: how much later than asked a long wait may end.
TICK = 0.25
# Waits shorter than this are timed exactly.
EXACTLY_BELOW = 20 * TICK


def wait_readable(sock: socket.socket, seconds: float) -> bool:
    """Whether the socket has something to read within so many seconds.

    A socket of gevent's has its watcher at hand already; waiting on it and then
    reading costs one system call less than a read that fails with EAGAIN first.
    """
    watcher: Any = getattr(sock, "_read_event", None)
    if watcher is None or seconds < EXACTLY_BELOW:
        return _wait_exactly(sock, watcher, seconds)
    hub = sock.hub  # type: ignore[attr-defined]
    waits = _WAITS.get(hub) or _Waits(hub)
    here = getcurrent()
    waits.ends[here] = time.monotonic() + seconds
    if not waits.ticking:
        waits.begin()
    # Only what is started here can switch back: the watcher, the slow clock, or an error that is thrown.
    watcher.start(here.switch, True)
    try:
        return hub.switch()  # type: ignore[no-any-return]
    finally:
        watcher.stop()
        del waits.ends[here]


def _wait_exactly(sock: socket.socket, watcher: Any, seconds: float) -> bool:
    try:
        if watcher is None:
            wait_read(sock.fileno(), timeout=seconds, timeout_exc=_Silence())
        else:
            wait(watcher, timeout=seconds, timeout_exc=_Silence())
    except _Silence:
        return False
    return True


def alarm(seconds: float, error: BaseException) -> AbstractContextManager[object]:
    """Raises the error in the calling greenlet if it is still inside the context after so many seconds.

    A command has no event loop that could do so; there the connections inside the context are ended.
    """
    if seconds == float("inf"):
        return nullcontext()
    if not is_module_patched("socket"):
        return _ending(seconds, error)
    timeout: AbstractContextManager[object] = Timeout(seconds, error)
    return timeout


@contextmanager
def _ending(seconds: float, error: BaseException) -> Iterator[None]:
    try:
        with ending_within(seconds):
            yield
    except Overdue:
        raise error from None


class _Silence(Exception):
    """Nothing came in time."""


class _Waits:
    # The long waits of one event loop, each with the moment of its end.

    def __init__(self, hub: Any) -> None:
        self.ends: dict[Any, float] = {}
        self.ticking = False
        self._timer = hub.loop.timer(TICK, TICK)
        _WAITS[hub] = self

    def begin(self) -> None:
        self.ticking = True
        self._timer.start(self._tick)

    def _tick(self) -> None:
        now = time.monotonic()
        for waiting in [waiting for waiting, end in self.ends.items() if end <= now]:
            # One wait's end may have ended another.
            if waiting in self.ends:
                waiting.switch(False)
        if not self.ends:
            self.ticking = False
            self._timer.stop()


_WAITS: dict[Any, _Waits] = {}
