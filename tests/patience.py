"""How long tests wait at most: limits are written for an idle machine, and scale with what this one gives."""

import os
import time
from functools import cache
from pathlib import Path

# Seconds for whatever does not say otherwise.
PATIENCE = 20.0
# Processor seconds of the yardstick on the machine that the limits were written for.
_USUAL = 0.008
_LOAD = Path("/proc/loadavg")


def patient(seconds: float = PATIENCE) -> float:
    """Seconds to wait at most, now, for what an idle machine does within ``seconds``."""
    return seconds * pace()


def pace() -> float:
    """How many times longer work takes now than on an idle machine of the usual speed; at least 1."""
    return max(1.0, _slowness()) * max(1.0, _load() / _processors())


@cache
def _slowness() -> float:
    # The best of some, in processor time, which other processes do not lengthen much.
    return min(_yardstick() for _ in range(5)) / _USUAL


def _yardstick() -> float:
    began = time.process_time()
    sum(number * number for number in range(200_000))
    return time.process_time() - began


def _load() -> float:
    """Processes that want a processor: on average of the last minute or right now, whichever is more."""
    average = os.getloadavg()[0]
    # The average takes a minute to see what has just begun.
    now = int(_LOAD.read_text().split()[3].partition("/")[0]) if _LOAD.exists() else 0
    return max(average, now)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
