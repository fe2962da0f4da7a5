"""What the Codex CLI and its backend tell each other around a turn."""

import pytest

from codexproxy.errors import Overloaded, PermissionRefused, ProxyError, RateLimited
from codexproxy.upstream.chatgpt.codex_passthrough import accounts, refused, sent, told, usage_told


def test_only_headers_about_the_turn_go_up() -> None:
    headers = {
        "x-codex-turn-state": "s",
        "x-codex-window-id": "",
        "authorization": "Bearer key",
        "x-openai-internal-codex-responses-lite": "true",
        "user-agent": "codex_exec/1",
    }
    assert sent(headers) == {"x-codex-turn-state": "s"}


def test_only_headers_it_reads_come_down() -> None:
    headers = {"x-codex-primary-used-percent": "1", "openai-model": "m", "set-cookie": "a", "x-models-etag": "e"}
    assert told(headers, whole=True) == {"x-codex-primary-used-percent": "1", "openai-model": "m"}


def test_the_credits_of_the_account_are_for_its_owner() -> None:
    headers = {"x-codex-primary-used-percent": "1", "x-codex-credits-balance": "77"}
    assert told(headers, whole=True) == headers
    assert told(headers, whole=False) == {"x-codex-primary-used-percent": "1"}
    report = {"plan_type": "plus", "rate_limit": {}, "credits": {}, "email": "a@b", "account_id": "x", "promo": 1}
    assert usage_told(report, whole=False) == {"plan_type": "plus", "rate_limit": {}}
    assert usage_told(report, whole=True) == {"plan_type": "plus", "rate_limit": {}, "credits": {}, "promo": 1}


@pytest.mark.parametrize(
    ("error", "status", "fields"),
    [
        (
            RateLimited("m", code="usage_limit_reached", extra={"resets_at": 5, "plan_type": "plus"}),
            429,
            {"type": "usage_limit_reached", "resets_at": 5, "plan_type": "plus", "message": "m"},
        ),
        (
            RateLimited("m", code="usage_limit_reached", retry_after=60),
            429,
            {"type": "usage_limit_reached", "resets_at": 1060, "resets_in_seconds": 60},
        ),
        (PermissionRefused("m", code="usage_not_included"), 429, {"type": "usage_not_included"}),
        (Overloaded("m", retry_after=1), 503, {"code": "server_is_overloaded"}),
        (RateLimited("m"), 429, {"type": "rate_limit_error", "code": "rate_limit_exceeded"}),
        (ProxyError("m"), 500, {"code": "internal_error"}),
    ],
)
def test_refusals_have_the_names_it_acts_on(error: ProxyError, status: int, fields: dict[str, object]) -> None:
    shown, body = refused(error, lambda: 1000.0)
    assert shown == status and fields.items() <= body.items()
    assert ("resets_at" in body) is (error.code == "usage_limit_reached")


def test_the_account_is_whatever_it_believes_to_have() -> None:
    for given, plan in (("acc", "pro"), (None, None)):
        told = accounts(given, "https://here", plan)
        (account,) = told["accounts"]
        assert account["id"] == told["default_account_id"] == (given or "default")
        assert account["plan_type"] == (plan or "unknown")
