"""Every place that reads a number from outside, with everything that may stand there."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest

from codexproxy.access.authorization import Identity, KeyLimits
from codexproxy.access.rate_limits import Limiter, open_storage
from codexproxy.apis.openai_chat.options import total, usage_of
from codexproxy.apis.openai_responses.response_builder import _whole_usage
from codexproxy.errors import RateLimited
from codexproxy.login.oauth.client import _seconds
from codexproxy.login.oauth.device_flow import _interval
from codexproxy.login.tokens.tokens import Grant, Tokens
from codexproxy.observability.metrics import Metrics, quota_gauges
from codexproxy.protocol.error_mapping import retry_after_of
from codexproxy.protocol.numbers import MOST, finite, moment, read_usage, whole
from codexproxy.protocol.quota import limit_text
from codexproxy.upstream.chatgpt.error_mapping import seconds_in
from codexproxy.upstream.chatgpt.quota import quota_from_event, quota_from_headers, quota_from_usage
from codexproxy.upstream.codex_cli.decode.progress import usage_of as cli_usage
from codexproxy.upstream.codex_cli.queries import _window
from codexproxy.upstream.router.retry_policy import seconds_until_reset
from tests.hostile_numbers.numbers import VALUES

NOW = 1_796_000_000.0


def numbers_of(value: Any) -> Iterable[int | float]:
    """Every number within a value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            yield from numbers_of(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def window(number: Any) -> dict[str, Any]:
    names = ("used_percent", "window_minutes", "limit_window_seconds", "reset_at", "reset_after_seconds")
    return dict.fromkeys(names, number)


def quota_told(number: Any) -> Any:
    """A quota read from all three places, told, counted and worded."""
    found = [
        quota_from_event({"rate_limits": {"primary": window(number), "secondary": window(number)}}, NOW),
        quota_from_usage({"rate_limit": {"primary_window": window(number)}}, NOW),
        quota_from_headers({f"x-codex-primary-{name.replace('_', '-')}": f"{number}" for name in window(0)}, NOW),
    ]
    known = [quota for quota in found if quota is not None]
    for quota in known:
        assert "usage limit" in limit_text(quota, None, NOW)
        Metrics().page(quota_gauges({"default": quota}, NOW))
    return [quota.as_dict(NOW) for quota in known]


def failure_told(number: Any) -> Any:
    error = RateLimited("no", extra={"resets_at": number, "resets_in_seconds": number})
    wait = retry_after_of({"resets_in_seconds": number}, "")
    also = RateLimited("no", retry_after=wait)
    return [error.wait, error.resets_at, also.wait, also.resets_at, seconds_until_reset(error, NOW)]


def tokens_told(number: Any) -> Any:
    fields = dict.fromkeys(("expires_at", "updated_at", "refresh_error_at"), number)
    tokens = Tokens.from_json({"access_token": "a", "refresh_token": "r", **fields})
    tokens = tokens.renewed(Grant("b", "s", "", _seconds(number)), int(NOW * 1000))
    tokens.due(int(NOW * 1000))
    told = tokens.to_json()
    json.dumps(told, allow_nan=False)
    return [told["expires_at"], told["updated_at"], _seconds(number), _interval({"interval": number})]


def chat_usage(number: Any) -> Any:
    details = {"cached_tokens": number, "reasoning_tokens": number}
    names = dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), number)
    usage = {**names, "input_tokens_details": details, "output_tokens_details": details}
    recorded = read_usage(usage)
    assert recorded is not None
    recorded += recorded
    return [usage_of(usage), total([usage_of(usage)] * 3), _whole_usage(usage), asdict(recorded)]


READERS: dict[str, Callable[[Any], Any]] = {
    "usage": chat_usage,
    "the local CLI's usage": lambda number: cli_usage({"a": number}, ["a"] * 5),
    "the local CLI's windows": lambda number: _window({"windowDurationMins": number}),
    "quotas": quota_told,
    "refusals": failure_told,
    "Retry-After": lambda number: seconds_in(f"{number}"),
    "the login service": tokens_told,
}


@pytest.mark.parametrize("number", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_whatever_is_read_is_bounded(read: Callable[[Any], Any], number: Any) -> None:
    for found in numbers_of(read(number)):
        assert math.isfinite(found)
        assert 0 <= found <= 3 * MOST or found == MOST * 60


@pytest.mark.parametrize("number", VALUES.values(), ids=VALUES)
def test_the_shared_readers_keep_their_bounds(number: Any) -> None:
    assert 0 <= whole(number) <= MOST
    assert (found := finite(number, -5.0, 5.0)) is None or -5 <= found <= 5
    assert (found := moment(number)) is None or 0 < found < 10**12
    assert (whole(7), finite("2.5", 0, 9), moment(NOW)) == (7, 2.5, NOW)


@pytest.mark.parametrize("seconds", [0.0, 1.0, 2.0**31, 2.0**32, 2.0**33])
def test_a_host_without_a_clock_counts_all_the_same(seconds: float) -> None:
    clock = SimpleNamespace(now=seconds)
    storage = open_storage("memory://")
    limiter = Limiter(storage, storage, clock=lambda: clock.now)
    ann = Identity("ann", keyed=True, limits=KeyLimits(tokens_per_day=10))
    assert limiter.admit(ann).headers()["x-ratelimit-remaining-tokens"] == "10"
    limiter.spend(ann, MOST)
    with pytest.raises(RateLimited):
        limiter.admit(ann)
