"""Quota windows as upstream tells them: in headers, in an event, in its usage report.

See docs/reference/quota.md#response-headers and docs/reference/quota.md#the-usage-report.
"""

import math
from collections.abc import Mapping
from typing import Any

from codexproxy.errors import LONGEST_WAIT
from codexproxy.protocol.numbers import finite, moment, whole
from codexproxy.protocol.quota import Quota, QuotaWindow

_WINDOWS = ("primary", "secondary")
_PREFIX = "x-codex-"
MOST_PERCENT = 1000.0


def quota_from_headers(headers: Mapping[str, str], now: float) -> Quota | None:
    """The quota in an answer's headers, a 429's included; None when they hold none.

    Args:
        headers: Names in lower case.
        now: Epoch seconds, for the older headers that count from now.
    """
    windows = tuple(filter(None, (_from_headers(headers, name, now) for name in _WINDOWS)))
    if not windows:
        return None
    return Quota(windows, headers.get(f"{_PREFIX}plan-type") or None, now)


def quota_from_event(data: Mapping[str, Any], now: float) -> Quota | None:
    """The quota in a ``codex.rate_limits`` event; None when it holds none."""
    return _from_report(data, data.get("rate_limits"), "", now)


def quota_from_usage(report: Mapping[str, Any], now: float) -> Quota:
    """The quota in the answer of ``wham/usage``; any window may be null."""
    return _from_report(report, report.get("rate_limit"), "_window", now) or Quota((), _text(report, "plan_type"), now)


def _from_headers(headers: Mapping[str, str], name: str, now: float) -> QuotaWindow | None:
    def number(field: str) -> float | None:
        return _number(headers.get(f"{_PREFIX}{name}-{field}"))

    used, minutes = _percent(number("used-percent")), number("window-minutes")
    if used is None:
        return None
    resets_at = _moment(number("reset-at"), number("reset-after-seconds"), now)
    return QuotaWindow(name, used, _seconds(minutes, 60), resets_at)


def _from_report(report: Mapping[str, Any], limits: Any, ending: str, now: float) -> Quota | None:
    windows = []
    for name in _WINDOWS:
        fields = limits.get(f"{name}{ending}") if isinstance(limits, Mapping) else None
        used = _percent(_number(fields.get("used_percent"))) if isinstance(fields, Mapping) else None
        if isinstance(fields, Mapping) and used is not None:
            length = _seconds(_number(fields.get("limit_window_seconds")), 1)
            length = length or _seconds(_number(fields.get("window_minutes")), 60)
            reset = _moment(_number(fields.get("reset_at")), _number(fields.get("reset_after_seconds")), now)
            windows.append(QuotaWindow(name, used, length, reset))
    return Quota(tuple(windows), _text(report, "plan_type"), now) if windows else None


def _number(value: Any) -> float | None:
    number = finite(value, -math.inf, math.inf)
    return number if number is not None and math.isfinite(number) else None


def _percent(value: float | None) -> float | None:
    # More than all is told by some plans; a window is never used less than not at all.
    return finite(value, 0.0, MOST_PERCENT)


def _seconds(amount: float | None, unit: int) -> int | None:
    return whole(amount * unit, LONGEST_WAIT) or None if amount else None


def _moment(at: float | None, after: float | None, now: float) -> float | None:
    return moment(at) or (moment(now + after) if after is not None else None)


def _text(report: Mapping[str, Any], name: str) -> str | None:
    value = report.get(name)
    return value if isinstance(value, str) else None
