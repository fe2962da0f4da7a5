"""How long upstream says to stay away, and what is no wait at all."""

import math

import pytest

from codexproxy.errors import RateLimited
from codexproxy.upstream.chatgpt.error_mapping import seconds_in
from codexproxy.upstream.router.retry_policy import seconds_until_reset

NOW = 1_795_240_000.0


@pytest.mark.parametrize(
    ("extra", "seconds"),
    [
        ({"resets_at": NOW + 9000}, 9000),
        ({"resets_in_seconds": 90}, 90),
        ({"resets_at": NOW + 9000, "resets_in_seconds": 90}, 9000),
        ({"resets_at": NOW - 5}, 0),
        ({"resets_at": math.inf, "resets_in_seconds": 90}, 90),
        ({"resets_at": 10**400}, 7),
        ({"resets_at": math.nan}, 7),
        ({"resets_in_seconds": 1e30}, 7),
        ({"resets_at": "soon"}, 7),
        ({}, 7),
    ],
)
def test_the_wait_is_what_upstream_told_where_that_is_one(extra: dict[str, object], seconds: float) -> None:
    assert seconds_until_reset(RateLimited("full", retry_after=7, extra=extra), NOW) == seconds


@pytest.mark.parametrize("wait", [math.inf, math.nan, 1e30])
def test_no_answer_asks_for_an_endless_wait(wait: float) -> None:
    assert RateLimited("full", retry_after=wait).retry_after is None


@pytest.mark.parametrize("value", [None, "", "soon", "1e999", "nan", "inf", "Fri, 21 Nov 2026 08:00:00 GMT"])
def test_a_retry_after_that_is_no_wait_is_none(value: str | None) -> None:
    assert seconds_in(value) is None


def test_a_retry_after_in_seconds_is_a_wait() -> None:
    assert seconds_in("1.5") == 1.5
