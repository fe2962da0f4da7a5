"""Measures work at 1, 2, 4 and 8 times a size, by counts first: a busy machine changes no count.

Lines executed tell of loops in Python, allocated memory of copies, and the processor's time, with a wide
margin, of work inside C that neither of them sees: expressions, searches, comparisons.
"""

import gc
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
from tests.patience import patient

STEPS = (1, 2, 4, 8)
# Growth per doubling: 2 is linear, 4 quadratic.
MOST_PER_DOUBLING = 2.5
# What is below these is noise: lines, bytes, seconds.
FEW_LINES, FEW_BYTES, FEW_SECONDS = 2_000, 300_000, 0.004
# From the smallest size to the largest: linear is 8, quadratic 64.
MOST_MEMORY = MOST_PER_DOUBLING**3
MOST_TIME = 30.0
# Whatever happens, the largest size takes no longer than this, in seconds of an idle machine's processor.
LONGEST = 2.0
MOST_LINES, MOST_BYTES = 1_500_000, 100_000_000

Work = Callable[[], object]
Build = Callable[[int], Work]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one piece of work took.

    Attributes:
        memory: Most bytes that were allocated at a time.
        seconds: The processor's time.
    """

    memory: int
    seconds: float


def check(build: Build, size: int) -> None:
    """Asserts that work grows with its input and no faster; a refusal is an outcome like any other.

    Args:
        build: Makes the work for a size; what that takes does not count.
        size: The smallest size.
    """
    lines = [_lines(build(size * step)) for step in STEPS]
    if not _grows_evenly(lines):
        # Something else of this process ran in between once, a collection or another's greenlet; growth shows again.
        lines = [min(count, _lines(build(size * step))) for count, step in zip(lines, STEPS, strict=True)]
    assert _grows_evenly(lines), f"lines grow as {lines}"
    # Copies and work inside C show from end to end; the sizes in between would only take time.
    small, large = (cost_of(build(size * step)) for step in (STEPS[0], STEPS[-1]))
    if large.seconds > MOST_TIME * max(small.seconds, FEW_SECONDS):
        # Once can be chance: a page that had to be fetched, a neighbour in the caches. Growth shows each time.
        large = min((large, cost_of(build(size * STEPS[-1]))), key=lambda cost: cost.seconds)
    assert large.memory <= MOST_MEMORY * max(small.memory, FEW_BYTES), f"memory grows: {small} {large}"
    assert large.seconds <= MOST_TIME * max(small.seconds, FEW_SECONDS), f"seconds grow: {small} {large}"
    assert large.seconds <= patient(LONGEST), f"{large.seconds:.2f} s for the largest"


def _grows_evenly(lines: list[int]) -> bool:
    return all(larger <= MOST_PER_DOUBLING * max(smaller, FEW_LINES) for smaller, larger in pairwise(lines))


def check_bounded(work: Work) -> None:
    """Asserts that work stays within a bound, however much its input could unfold into."""
    lines, cost = _lines(work), cost_of(work)
    assert lines <= MOST_LINES and cost.seconds <= patient(LONGEST) and cost.memory <= MOST_BYTES, (
        f"{lines} lines, {cost}"
    )


def cost_of(work: Work) -> Cost:
    """What a piece of work takes."""
    # A collection goes over everything that earlier tests left, and would be charged to this work.
    gc.disable()
    tracemalloc.start()
    try:
        began = time.process_time()
        with suppress(ProxyError):
            work()
        return Cost(tracemalloc.get_traced_memory()[1], time.process_time() - began)
    finally:
        tracemalloc.stop()
        gc.enable()


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
