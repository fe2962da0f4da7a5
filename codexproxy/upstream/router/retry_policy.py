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
class Disposition:
    """What to do after one kind of failure.

    Attributes:
        again: The same provider may be asked once more.
        at_any_time: Also when the failure took long to come.
        elsewhere: Another provider of the group may do better.
        counts: It speaks against the provider (circuit breaker).
        counts_inside: Also when it came inside a 200 and may be the turn's own fault.
        pause: Seconds to leave the provider alone, unless upstream named its own.
    """

    again: bool = False
    at_any_time: bool = False
    elsewhere: bool = False
    counts: bool = False
    counts_inside: bool = False
    pause: float = 0.0


_BROKEN = Disposition(again=True, elsewhere=True, counts=True)
_SPENT = Disposition(elsewhere=True, pause=_ACCOUNT_PAUSE)
_SHUT = Disposition(elsewhere=True, pause=_LOGIN_PAUSE)

BY_CODE: dict[str, Disposition] = {
    "upstream_unavailable": _BROKEN,
    "upstream_truncated": _BROKEN,
    "overloaded": Disposition(again=True, elsewhere=True, counts=True, counts_inside=True),
    "upstream_challenge": Disposition(elsewhere=True, counts=True),
    # Another provider would keep the caller waiting as long again.
    "upstream_timeout": Disposition(counts=True),
    "empty_response": Disposition(again=True, at_any_time=True),
    "rate_limit_exceeded": Disposition(again=True, elsewhere=True, pause=_RATE_PAUSE),
    "usage_limit_reached": _SPENT,
    "insufficient_quota": _SPENT,
    # A plan may lack one model and include the others, which other turns ask for.
    "usage_not_included": Disposition(elsewhere=True),
    "account_deactivated": _SPENT,
    "upstream_forbidden": Disposition(elsewhere=True),
    "not_logged_in": _SHUT,
    "login_expired": _SHUT,
    "queue_timeout": Disposition(elsewhere=True),
    "not_offered": Disposition(elsewhere=True),
    "codex_cli_failed": Disposition(again=True, elsewhere=True),
}
_CALLERS_OWN = Disposition()


def disposition_of(error: ProxyError) -> Disposition:
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
