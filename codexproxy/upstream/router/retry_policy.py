"""What a failed attempt means for the next one, as a table.

Only failures before the first event get here. A caller's own mistake is the
same everywhere, so it is neither tried again nor held against anybody.
"""

from dataclasses import dataclass

from codexproxy.errors import LONGEST_WAIT, InvalidRequest, ProxyError

# Seconds for which a provider is left alone when upstream named no reset time.
_ACCOUNT_PAUSE = 300.0
_LOGIN_PAUSE = 5.0
_RATE_PAUSE = 2.0


@dataclass(frozen=True, slots=True)
class RetryRule:
    """What to do after one kind of failure.

    Attributes:
        retry: The same provider may be asked once more.
        any_duration: Also when the failure took long to come.
        failover: Another provider of the group may do better.
        counts: It speaks against the provider (circuit breaker).
        counts_in_stream: Also when it came inside a 200 and may be the turn's own fault.
        pause: Seconds to leave the provider alone, unless upstream named its own.
    """

    retry: bool = False
    any_duration: bool = False
    failover: bool = False
    counts: bool = False
    counts_in_stream: bool = False
    pause: float = 0.0


_BROKEN = RetryRule(retry=True, failover=True, counts=True)
_USED_UP = RetryRule(failover=True, pause=_ACCOUNT_PAUSE)
_NO_LOGIN = RetryRule(failover=True, pause=_LOGIN_PAUSE)

BY_CODE: dict[str, RetryRule] = {
    "upstream_unavailable": _BROKEN,
    "upstream_truncated": _BROKEN,
    "overloaded": RetryRule(retry=True, failover=True, counts=True, counts_in_stream=True),
    "upstream_challenge": RetryRule(failover=True, counts=True),
    # Another provider would keep the caller waiting as long again.
    "upstream_timeout": RetryRule(counts=True),
    "empty_response": RetryRule(retry=True, any_duration=True),
    "rate_limit_exceeded": RetryRule(retry=True, failover=True, pause=_RATE_PAUSE),
    "usage_limit_reached": _USED_UP,
    "insufficient_quota": _USED_UP,
    # A plan may lack one model and include the others, which other turns ask for.
    "usage_not_included": RetryRule(failover=True),
    "account_deactivated": _USED_UP,
    "upstream_forbidden": RetryRule(failover=True),
    "not_logged_in": _NO_LOGIN,
    "login_expired": _NO_LOGIN,
    "queue_timeout": RetryRule(failover=True),
    "not_offered": RetryRule(failover=True),
    "codex_cli_failed": RetryRule(retry=True, failover=True),
}
_CALLERS_OWN = RetryRule()


def retry_rule(error: ProxyError) -> RetryRule:
    """The row for a failure; unknown codes go by whether the error says it is retryable."""
    row = BY_CODE.get(error.code or "")
    if row is not None:
        return row
    if error.retryable and not isinstance(error, InvalidRequest):
        return _BROKEN
    return _CALLERS_OWN


def seconds_until_reset(error: ProxyError, now: float) -> float | None:
    """How long upstream itself says to stay away (docs/reference/errors.md#http-errors); None when it does not.

    Args:
        error: The failure.
        now: Epoch seconds.
    """
    for name, start in (("resets_at", now), ("resets_in_seconds", 0.0)):
        told = error.extra.get(name)
        if isinstance(told, int | float) and not isinstance(told, bool) and told < start + LONGEST_WAIT:
            return max(0.0, float(max(told, 0) - start))
    return error.retry_after
