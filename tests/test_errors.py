"""How long a wait is, and how a caller is told of it."""

import math
import time
from typing import Any

import pytest

from codexproxy.errors import LONGEST_WAIT, Overloaded, RateLimited, local_time


@pytest.mark.parametrize(
    ("seconds", "is_long"), [(None, False), (0, False), (1, False), (60, False), (61, True), (9e6, True)]
)
def test_a_wait_over_a_minute_is_told_as_a_moment(seconds: float | None, is_long: bool) -> None:
    for kind in (RateLimited, Overloaded):
        error = kind("Slow down.", retry_after=seconds)
        told = error.as_dict()
        assert ("resets_at" in told) is is_long
        if is_long:
            assert told["resets_at"] == pytest.approx(time.time() + (seconds or 0), abs=5)
            assert told["message"] == f"Slow down. Please try again at {local_time(error.resets_at or 0)}, local time."
        else:
            assert told["message"] == "Slow down."


def test_a_message_that_holds_the_moment_is_left_alone() -> None:
    moment = int(time.time()) + 900
    error = RateLimited(f"It resets at {local_time(moment)}.", extra={"resets_at": moment})
    assert error.as_dict()["message"] == f"It resets at {local_time(moment)}."
    assert error.as_dict()["resets_at"] == moment


@pytest.mark.parametrize("moment", ["soon", True, None, math.nan, math.inf, 2**64, 20 * LONGEST_WAIT, []])
def test_a_moment_that_is_none_counts_for_nothing(moment: Any) -> None:
    assert RateLimited("x", retry_after=5, extra={"resets_at": moment}).wait == 5
    long = RateLimited("x", retry_after=500, extra={"resets_at": moment}).as_dict()
    assert long["resets_at"] == pytest.approx(time.time() + 500, abs=5)


def test_a_moment_that_has_passed_is_no_wait() -> None:
    assert RateLimited("x", retry_after=900, extra={"resets_at": 5}).wait == 0
