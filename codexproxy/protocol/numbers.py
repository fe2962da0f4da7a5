"""Numbers from outside, bounded where they are read.

An upstream, a login service, a program or a clock may say anything where a number belongs: a text, a
boolean, NaN, more than SQLite or a float can hold. What is read here can be added up, stored, shown and
compared without asking again.
"""

import math
from typing import Any

# What every JSON parser keeps exactly, and a sum of thousands of them still fits into 64 bits.
MOST = 2**53
# The last second of the year 9999, beyond which no calendar reaches.
LATEST = 253_402_300_799


def whole(value: Any, most: int = MOST) -> int:
    """A count: 0 for what is none, never negative, never more than ``most``."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        return 0
    return most if value >= most else int(value)


def finite(value: Any, low: float, high: float) -> float | None:
    """A number, or a text that is one, brought between two bounds; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except OverflowError:  # an int that no float can hold
        return high if isinstance(value, int) and value > 0 else low
    except ValueError:
        return None
    return None if math.isnan(number) else min(max(number, low), high)


def moment(value: Any) -> float | None:
    """Epoch seconds; None for what is no time, or beyond all calendars."""
    seconds = finite(value, 0.0, math.inf)
    return seconds if seconds is not None and 0 < seconds <= LATEST else None
