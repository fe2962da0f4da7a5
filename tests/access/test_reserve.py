"""The reserve of the week that a key must leave."""

import pytest

from codexproxy.access.authorization import Identity, KeyLimits
from codexproxy.access.rate_limits import check_reserve
from codexproxy.errors import RateLimited
from codexproxy.protocol.quota import QuotaWindow

NOW = 1_795_230_000.0


def key(reserve: float | None) -> Identity:
    return Identity("ann", keyed=True, limits=KeyLimits(reserve_weekly_percent=reserve))


def week(used: float, left: float | None = 7200) -> QuotaWindow:
    return QuotaWindow("secondary", used, 604800, NOW + left if left is not None else None)


@pytest.mark.parametrize(
    ("reserve", "window", "refused"),
    [
        (20.0, week(79.9), False),
        (20.0, week(80.0), True),
        (20.0, week(100.0), True),
        (20.0, week(95.0, left=-1), False),
        (20.0, None, False),
        (None, week(100.0), False),
        (100.0, week(0.0), True),
    ],
)
def test_a_key_leaves_its_reserve(reserve: float | None, window: QuotaWindow | None, refused: bool) -> None:
    if not refused:
        check_reserve(key(reserve), window, NOW)
        return
    with pytest.raises(RateLimited) as refusal:
        check_reserve(key(reserve), window, NOW, lambda moment: f"T+{moment - NOW:g}")
    assert (refusal.value.code, refusal.value.retry_after) == ("insufficient_quota", 7200)
    assert "weekly quota" in refusal.value.message
    assert "T+7200" in refusal.value.message


def test_without_a_known_reset_no_time_is_promised() -> None:
    with pytest.raises(RateLimited) as refusal:
        check_reserve(key(10), week(95, left=None), NOW)
    assert refusal.value.retry_after is None
