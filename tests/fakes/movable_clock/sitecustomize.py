"""A host whose clock can be moved: Python finds this at its start when the folder is in ``PYTHONPATH``.

The file that ``MOVED_CLOCK`` names holds the seconds by which the wall clock is wrong. The
monotonic clock never jumps, neither here nor on a real host.
"""

import os
import time
from collections.abc import Callable

_real: Callable[[], float] = time.time
_PATH = os.environ.get("MOVED_CLOCK", "")


def _moved() -> float:
    try:
        with open(_PATH) as file:
            return _real() + float(file.read() or 0)
    except OSError:
        return _real()


time.time = _moved
