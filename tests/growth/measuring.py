"""Measures work at 1, 2, 4 and 8 times a size, by counts first: a busy machine changes no count.

Lines executed tell of loops in Python, allocated memory of copies, and the processor's time, with a wide
margin, of work inside C that neither of them sees: expressions, searches, comparisons.
"""

import sys
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from types import FrameType
from typing import Any

from codexproxy.errors import ProxyError

STEPS = (1, 2, 4, 8)
# Growth per doubling: 2 is linear, 4 quadratic.
MOST_PER_DOUBLING = 2.5
# What is below these is noise: lines, bytes, seconds.
FEW_LINES, FEW_BYTES, FEW_SECONDS = 2_000, 300_000, 0.004
# From the smallest size to the largest: linear is 8, quadratic 64.
MOST_TIME = 30.0
# Whatever happens, the largest size takes no longer than this, in seconds of the processor.
LONGEST = 2.0
MOST_LINES, MOST_BYTES = 1_500_000, 100_000_000

Work = Callable[[], object]
Build = Callable[[int], Work]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one piece of work took.

    Attributes:
        lines: Lines of codexproxy that were executed.
        memory: Most bytes that were allocated at a time.
        seconds: The processor's time.
    """

    lines: int
    memory: int
    seconds: float


def check(build: Build, size: int) -> list[Cost]:
    """Asserts that work grows with its input and no faster; a refusal is an outcome like any other.

    Args:
        build: Makes the work for a size; what that takes does not count.
        size: The smallest size.
    """
    costs = [cost_of(build(size * step)) for step in STEPS]
    for name, least in (("lines", FEW_LINES), ("memory", FEW_BYTES)):
        counts = [getattr(cost, name) for cost in costs]
        for smaller, larger in pairwise(counts):
            assert larger <= MOST_PER_DOUBLING * max(smaller, least), f"{name} grow as {counts}"
    times = [cost.seconds for cost in costs]
    assert times[-1] <= MOST_TIME * max(times[0], FEW_SECONDS), f"seconds grow as {times}"
    assert times[-1] <= LONGEST, f"{times[-1]:.2f} s for the largest"
    return costs


def check_bounded(work: Work) -> Cost:
    """Asserts that work stays within a bound, however much its input could unfold into."""
    cost = cost_of(work)
    assert cost.lines <= MOST_LINES and cost.seconds <= LONGEST and cost.memory <= MOST_BYTES, str(cost)
    return cost


def cost_of(work: Work) -> Cost:
    """What a piece of work takes; it is done twice, so it must not change its input."""
    lines = _lines(work)
    tracemalloc.start()
    began = time.process_time()
    with suppress(ProxyError):
        work()
    seconds = time.process_time() - began
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Cost(lines, memory, seconds)


def _lines(work: Work) -> int:
    count = 0

    def count_line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += 1
        return count_line

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        return count_line if "codexproxy" in frame.f_code.co_filename else None

    earlier = sys.gettrace()
    sys.settrace(enter)
    try:
        with suppress(ProxyError):
            work()
    finally:
        sys.settrace(earlier)
    return count
