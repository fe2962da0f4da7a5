"""Numbers and usage reports from outside, bounded where they are read (docs/reference/stream.md#usage).

An upstream, a login service, a program or a clock may say anything where a number belongs: a text, a
boolean, NaN, more than SQLite or a float can hold. What is read here can be added up, stored, shown and
compared without asking again.
"""

import math
from dataclasses import dataclass
from typing import Any

from codexproxy.protocol.events import ERROR, Event

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


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or several turns.

    Attributes:
        input: Sent, cached ones included.
        output: Received, those of reasoning included.
        cached: Sent and known to upstream's cache.
        reasoning: Received as reasoning.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        # Each request adds some, most of them to nothing.
        if self == _NOTHING:
            return other
        return Usage(
            min(self.input + other.input, MOST),
            min(self.output + other.output, MOST),
            min(self.cached + other.cached, MOST),
            min(self.reasoning + other.reasoning, MOST),
        )

    @property
    def total(self) -> int:
        """Tokens in and out."""
        return self.input + self.output


_NOTHING = Usage()


def read_usage(report: Any) -> Usage | None:
    """The numbers of a usage report, each within 0 and ``MOST``; None for what is no report."""
    if not isinstance(report, dict) or not report:
        return None
    read, written = report.get("input_tokens_details"), report.get("output_tokens_details")
    return Usage(
        whole(report.get("input_tokens")),
        whole(report.get("output_tokens")),
        whole(read.get("cached_tokens")) if isinstance(read, dict) else 0,
        whole(written.get("reasoning_tokens")) if isinstance(written, dict) else 0,
    )


def reported_usage(event: Event) -> Usage | None:
    """The usage that a terminal event tells; None where it tells none."""
    return read_usage(usage_of(event))


def usage_of(event: Event | None) -> dict[str, Any]:
    """The terminal event's usage, ``{}`` where upstream reported none."""
    if event is None or event.type == ERROR:
        return {}
    response = event.data.get("response")
    usage = response.get("usage") if isinstance(response, dict) else None
    return usage if isinstance(usage, dict) else {}
