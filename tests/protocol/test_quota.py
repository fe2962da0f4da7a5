"""Quota windows: names, forecasts, and what a caller is told."""

import pytest

from codexproxy.protocol.quota import Quota, QuotaWindow, limit_text, span

NOW = 1_795_230_000.0
HOUR, DAY = 3600, 86_400


def window(used: float, left: float, seconds: int | None = 5 * HOUR, name: str = "primary") -> QuotaWindow:
    return QuotaWindow(name, used, seconds, NOW + left)


def tell(moment: float) -> str:
    return f"T+{moment - NOW:g}"


@pytest.mark.parametrize(
    ("seconds", "label"),
    [
        (5 * HOUR, "5-hour"),
        (HOUR, "hourly"),
        (DAY, "daily"),
        (3 * DAY, "3-day"),
        (7 * DAY, "weekly"),
        (30 * DAY, "monthly"),
        (90 * 60, "90-minute"),
        (61, "61-second"),
        (None, "primary"),
        (0, "primary"),
    ],
)
def test_windows_are_called_by_their_length(seconds: int | None, label: str) -> None:
    assert window(1, 1, seconds).label == label


@pytest.mark.parametrize(
    ("used", "left", "at_reset", "runs_out"),
    [
        (25.0, 2.5 * HOUR, 50.0, None),
        (50.0, 2.5 * HOUR, 100.0, None),
        (80.0, 2.5 * HOUR, 160.0, 0.625 * HOUR),
        (0.0, HOUR, 0.0, None),
    ],
)
def test_the_forecast_goes_on_at_the_pace_so_far(
    used: float, left: float, at_reset: float, runs_out: float | None
) -> None:
    forecast = window(used, left).forecast(NOW)
    assert forecast is not None
    assert forecast.percent_at_reset == at_reset
    assert forecast.runs_out_at == (None if runs_out is None else pytest.approx(NOW + runs_out))


@pytest.mark.parametrize(
    "unknowable",
    [window(5, 5 * HOUR - 60), window(5, -1), window(5, HOUR, None), QuotaWindow("primary", 5, 5 * HOUR, None)],
    ids=["just begun", "over", "no length", "no reset"],
)
def test_there_is_no_forecast_when_too_little_is_known(unknowable: QuotaWindow) -> None:
    assert unknowable.forecast(NOW) is None


def test_a_window_that_has_started_again_is_unused() -> None:
    assert (window(90, -1).used_now(NOW), window(90, 1).used_now(NOW)) == (0.0, 90)


def test_the_long_window_is_the_longest_of_two_days_or_more() -> None:
    week, month = window(1, 1, 7 * DAY), window(1, 1, 30 * DAY)
    assert Quota((window(1, 1), week, month)).long_window() == month
    assert Quota((window(1, 1), window(1, 1, DAY))).long_window() is None


FIVE_HOURS, WEEK = window(100, 2 * HOUR), window(40.5, 4 * DAY, 7 * DAY, "secondary")


@pytest.mark.parametrize(
    ("quota", "resets_at", "text"),
    [
        (
            Quota((FIVE_HOURS, WEEK)),
            None,
            "The 5-hour usage limit of the account is reached (100 % used). It resets at T+7200, in 2 h 0 min.",
        ),
        (
            Quota((FIVE_HOURS, WEEK)),
            NOW + 4 * DAY,
            "The weekly usage limit of the account is reached (40.5 % used). It resets at T+345600, in 4 d 0 h.",
        ),
        (None, NOW + 90 * 60, "The usage limit of the account is reached. It resets at T+5400, in 1 h 30 min."),
        (Quota(), None, "The usage limit of the account is reached."),
    ],
)
def test_a_usage_limit_is_told_with_window_percent_and_time(
    quota: Quota | None, resets_at: float | None, text: str
) -> None:
    assert limit_text(quota, resets_at, NOW, tell).startswith(text)


@pytest.mark.parametrize(("seconds", "text"), [(-5, "0 min"), (59, "1 min"), (3600, "1 h 0 min"), (90_000, "1 d 1 h")])
def test_spans_are_short_and_plain(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_quota_shows_itself_as_json() -> None:
    shown = Quota((window(25.0, 2.5 * HOUR),), "plus", NOW).as_dict(NOW, tell)
    assert shown == {
        "plan": "plus",
        "seen_at": NOW,
        "windows": [
            {
                "name": "primary",
                "label": "5-hour",
                "used_percent": 25.0,
                "window_seconds": 18000,
                "resets_at": NOW + 9000,
                "resets_at_local": "T+9000",
                "forecast_percent_at_reset": 50.0,
                "forecast_runs_out_at": None,
            }
        ],
    }


@pytest.mark.parametrize("moment", [1e30, -1e30, 253402300800 * 10])
def test_a_reset_in_no_calendar_is_still_told(moment: float) -> None:
    assert "usage limit of the account is reached" in limit_text(None, moment, 0)


def test_a_quota_of_before_names_the_window_that_ends_then_and_claims_no_percentage() -> None:
    quota = Quota((window(25.0, HOUR), window(80.0, 3 * DAY, 7 * DAY, "secondary")))
    assert limit_text(quota, NOW + HOUR, NOW, tell, fresh=False) == (
        "The 5-hour usage limit of the account is reached. It resets at T+3600, in 1 h 0 min. "
        "'codexproxy usage' shows all windows."
    )
    for moment in (NOW + DAY, None):
        assert "The usage limit of the account is reached." in limit_text(quota, moment, NOW, tell, fresh=False)
