"""Cooperative yielding: lets a worker's other greenlets run while one of them has long work to do."""

import time
from collections.abc import Callable
from typing import TypeVar

import gevent

T = TypeVar("T")

# Seconds for which work may keep the event loop from looking at its sockets and timers.
SLICE = 0.01
# ``sleep(0)`` would not do: as long as two greenlets yield like that, the loop runs these two in turns and polls
# nothing. A timer, however short, ends that round.
_SHORTEST = 1e-6


class _Round:
    """The event loop's current round, and since when work is known to be done in it."""

    number = -1
    began = 0.0


def let_others_run() -> None:
    """Yields to the event loop if it has been kept for 10 ms, by whatever greenlets; otherwise costs some 200 ns."""
    # The loop's own idea of the time would not do: each start of a timer sets it anew.
    number, now = gevent.get_hub().loop.iteration, time.monotonic()
    if number != _Round.number:
        _Round.number, _Round.began = number, now
    elif now - _Round.began > SLICE:
        gevent.sleep(_SHORTEST)


def in_thread(work: Callable[[], T]) -> T:
    """Does work in a thread of the worker's pool, while others run.

    Whoever is told to end meanwhile ends only when the work is done: what it works on may be freed then.
    """
    task = gevent.get_hub().threadpool.spawn(work)
    interruption: BaseException | None = None
    while not task.ready():
        try:
            task.wait()
        except BaseException as error:  # also the end of this greenlet; raised below
            interruption = error
    if interruption is not None:
        raise interruption
    result: T = task.get()
    return result
