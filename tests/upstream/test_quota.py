"""Quota as upstream tells it, and the book that all processes of a host share."""

from pathlib import Path
from typing import Any

import pytest

from codexproxy.errors import Overloaded, RateLimited
from codexproxy.protocol.quota import Quota, QuotaWindow
from codexproxy.upstream.chatgpt.quota import quota_from_event, quota_from_headers, quota_from_usage
from codexproxy.upstream.quota_store import QuotaBook
from tests.fakes.clock import Clock

NOW = 1_795_230_000.0
HEADERS = {
    "x-codex-primary-used-percent": "12.5",
    "x-codex-primary-window-minutes": "300",
    "x-codex-primary-reset-at": "1795238322",
    "x-codex-secondary-used-percent": "7",
    "x-codex-secondary-window-minutes": "10080",
    "x-codex-secondary-reset-after-seconds": "400000",
    "x-codex-plan-type": "plus",
}
BOTH = (
    QuotaWindow("primary", 12.5, 18000, 1795238322.0),
    QuotaWindow("secondary", 7.0, 604800, NOW + 400000),
)


def test_headers_old_and_new_are_read() -> None:
    assert quota_from_headers(HEADERS, NOW) == Quota(BOTH, "plus", NOW)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-codex-primary-used-percent": ""},
        {"x-codex-primary-used-percent": "many"},
        {"x-codex-primary-used-percent": "nan"},
        {"x-codex-primary-window-minutes": "300"},
    ],
)
def test_headers_that_hold_no_quota_give_none(headers: dict[str, str]) -> None:
    assert quota_from_headers(headers, NOW) is None


def test_garbage_beside_a_percentage_is_left_out() -> None:
    headers = {
        "x-codex-primary-used-percent": "5",
        "x-codex-primary-window-minutes": "x",
        "x-codex-primary-reset-at": "-",
    }
    assert quota_from_headers(headers, NOW) == Quota((QuotaWindow("primary", 5.0),), None, NOW)


def test_the_event_is_read() -> None:
    limits = {
        "primary": {"used_percent": 12.5, "window_minutes": 300, "reset_at": 1795238322},
        "secondary": {"used_percent": 7, "window_minutes": 10080, "reset_after_seconds": 400000},
    }
    event = {"type": "codex.rate_limits", "plan_type": "plus", "rate_limits": limits}
    assert quota_from_event(event, NOW) == Quota(BOTH, "plus", NOW)
    assert quota_from_event({"type": "codex.rate_limits"}, NOW) is None


USAGE: dict[str, Any] = {
    "plan_type": "plus",
    "rate_limit": {
        "primary_window": {"used_percent": 12.5, "limit_window_seconds": 18000, "reset_at": 1795238322},
        "secondary_window": {"used_percent": 7, "limit_window_seconds": 604800, "reset_after_seconds": 400000},
    },
}


def test_the_usage_report_is_read() -> None:
    assert quota_from_usage(USAGE, NOW) == Quota(BOTH, "plus", NOW)


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"plan_type": 3, "rate_limit": None},
        {"rate_limit": {"primary_window": None, "secondary_window": "x"}},
        {"rate_limit": {"primary_window": {"used_percent": True}}},
    ],
)
def test_a_usage_report_without_windows_is_an_empty_quota(report: dict[str, Any]) -> None:
    assert quota_from_usage(report, NOW) == Quota((), None, NOW)


def quota(used: float, at: float = NOW, *, seconds: int = 604800, resets_at: float | None = None) -> Quota:
    return Quota((QuotaWindow("secondary", used, seconds, resets_at),), "plus", at)


def test_what_one_process_hears_another_knows(tmp_path: Path) -> None:
    one, two = QuotaBook(tmp_path / "q.db"), QuotaBook(tmp_path / "q.db")
    one.note("main", quota(5))
    assert two.of("main") == quota(5)
    two.note("main", quota(6, NOW + 1))
    assert one.of("main") == quota(6, NOW + 1)
    assert one.of("other") is None


def test_an_answer_without_a_quota_changes_nothing(tmp_path: Path) -> None:
    book = QuotaBook(tmp_path / "q.db")
    book.note("main", quota(5))
    book.note("main", None)
    assert book.of("main") == quota(5)


def test_an_unchanged_quota_is_written_once_a_minute(tmp_path: Path) -> None:
    one, two = QuotaBook(tmp_path / "q.db"), QuotaBook(tmp_path / "q.db")
    seen = []
    for seconds in (0, 30, 59, 61):
        one.note("main", quota(5, NOW + seconds))
        seen.append(two.of("main").seen_at - NOW)  # type: ignore[union-attr]
    assert seen == [0, 0, 0, 61]


def test_without_a_usable_file_each_process_knows_its_own(tmp_path: Path) -> None:
    (tmp_path / "q.db").mkdir()
    book = QuotaBook(tmp_path / "q.db")
    book.note("main", quota(5))
    assert book.of("main") == quota(5)


def test_the_account_with_most_left_is_found_when_all_are_known(tmp_path: Path) -> None:
    clock = Clock(NOW)
    book = QuotaBook(tmp_path / "q.db", clock)
    book.note("one", quota(90, resets_at=NOW + 50))
    book.note("two", quota(80))
    assert book.least_used(["one", "two"]).used_percent == 80  # type: ignore[union-attr]
    clock.now += 60
    assert book.least_used(["one", "two"]).used_now(clock.now) == 0.0  # type: ignore[union-attr]
    assert book.least_used(["one", "unknown"]) is None
    assert book.least_used([]) is None


def test_a_usage_limit_is_explained_and_keeps_what_programs_read(tmp_path: Path) -> None:
    book = QuotaBook(tmp_path / "q.db", Clock(NOW))
    book.note("main", quota(100, resets_at=NOW + 9000))
    limit = RateLimited("reached", code="usage_limit_reached", extra={"resets_in_seconds": 9000, "plan_type": "plus"})
    limit.quota_told = True
    told = book.explain("main", limit)
    assert told.message.startswith("The weekly usage limit of the account is reached (100 % used).")
    limit.quota_told = False
    assert book.explain("main", limit).message.startswith("The weekly usage limit of the account is reached. It resets")
    assert (told.code, told.retry_after, told.extra) == (limit.code, 9000, limit.extra)
    other = Overloaded("x")
    assert book.explain("main", other) is other


def test_a_quota_written_by_another_version_is_not_known(tmp_path: Path) -> None:
    book = QuotaBook(tmp_path / "q.db")
    with book._database.transaction() as connection:
        connection.execute("INSERT INTO quotas VALUES ('main', '{\"new\": 1}')")
    assert book.of("main") is None
