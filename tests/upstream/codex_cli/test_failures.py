"""Every way the CLI tells a failure keeps its meaning for the caller."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.observability.redaction import Redactor
from codexproxy.upstream.codex_cli.decode.error_mapping import failure_of_exit, failure_of_text, is_ancient

REDACT = Redactor(["key-of-the-provider"])

# What the real CLI says and what it means (docs/reference/stream.md#failure-codes).
SENTENCES = [
    ("You've hit your usage limit. Upgrade to Pro (https://…) or try again at 5:46 AM.", 429, "usage_limit_reached"),
    ("The usage limit has been reached", 429, "usage_limit_reached"),
    ("Quota exceeded. Check your plan and billing details.", 429, "insufficient_quota"),
    ("To use Codex with your ChatGPT plan, upgrade to Plus: https://chatgpt.com/explore/plus.", 403, "usage_not_included"),
    ("Codex ran out of room in the model's context window. Start a new thread.", 400, "context_length_exceeded"),
    ("Selected model is at capacity. Please try a different model.", 503, "overloaded"),
    ("exceeded retry limit, last status: 429 Too Many Requests", 429, "rate_limit_exceeded"),
    ("exceeded retry limit, last status: 503 Service Unavailable", 502, "upstream_unavailable"),
    ("unexpected status 401 Unauthorized: bad key, url: http://127.0.0.1:1/v1/responses", 401, "login_expired"),
    ("unexpected status 403 Forbidden: no, url: http://127.0.0.1:1/v1", 403, "upstream_forbidden"),
    ("unexpected status 502 Bad Gateway: x, url: http://127.0.0.1:1/v1", 502, "upstream_unavailable"),
    ("Your access token could not be refreshed. Please log out and sign in again.", 401, "login_expired"),
    ("Not logged in. Run codex login.", 401, "not_logged_in"),
    ("Missing environment variable: `SIM_TOKEN`.", 401, "not_logged_in"),
    ("codex account authentication required to read rate limits", 401, "not_logged_in"),
    ("The model `gpt-9` does not exist or you do not have access to it.", 404, "model_not_found"),
    ("The 'gpt-9' model is not supported when using Codex with a ChatGPT account.", 404, "model_not_found"),
    ('{"detail":"The \'gpt-9\' model is not supported when using Codex with a ChatGPT account."}', 404, "model_not_found"),
    ('{"error":{"message":"Nope","type":"invalid_request_error","code":"model_not_found","param":null}}', 404, "model_not_found"),
    ('{"error":{"message":"Bad value","type":"invalid_request_error","code":"invalid_value","param":"x"}}', 400, "invalid_value"),
    ('{"detail":"Unsupported parameter: temperature"}', 400, "upstream_rejected"),
    ('unexpected status 400 Bad Request: {"error":{"message":"m","code":"cyber_policy"}}', 400, "cyber_policy"),
    ("stream disconnected before completion: stream closed before response.completed", 502, "upstream_truncated"),
    ("stream disconnected before completion: error sending request", 502, "upstream_unavailable"),
    ("Connection failed: error sending request for url", 502, "upstream_unavailable"),
    ("something entirely new", 502, "codex_cli_failed"),
    ("", 502, "codex_cli_failed"),
    ("{not json}", 502, "codex_cli_failed"),
    ('{"error":"text"}', 502, "codex_cli_failed"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "status", "code"), SENTENCES)
def test_a_sentence_keeps_its_meaning(text: str, status: int, code: str) -> None:
    error = failure_of_text(text, REDACT)
    assert (error.status, error.code) == (status, code)
    assert error.message


NAMES = [
    ("usageLimitExceeded", 429, "usage_limit_reached"),
    ("rateLimitExceeded", 429, "rate_limit_exceeded"),
    ("contextWindowExceeded", 400, "context_length_exceeded"),
    ("serverOverloaded", 503, "overloaded"),
    ("modelNotFound", 404, "model_not_found"),
    ("unauthorized", 401, "login_expired"),
    ("cyberPolicy", 400, "cyber_policy"),
    ("badRequest", 400, "upstream_rejected"),
    ("internalServerError", 502, "upstream_unavailable"),
    ("sandboxError", 502, "codex_cli_failed"),
    ("aNameOfTheFuture", 502, "codex_cli_failed"),
    ({"responseTooManyFailedAttempts": {"httpStatusCode": 429}}, 429, "rate_limit_exceeded"),
    ({"httpConnectionFailed": {"httpStatusCode": 401}}, 401, "login_expired"),
    ({"responseStreamDisconnected": {"httpStatusCode": None}}, 502, "codex_cli_failed"),
    ({"responseStreamConnectionFailed": {"httpStatusCode": 500}}, 502, "upstream_unavailable"),
    ({"activeTurnNotSteerable": {"turnKind": "review"}}, 502, "codex_cli_failed"),
    ({"odd": 1}, 502, "codex_cli_failed"),
    (["odd"], 502, "codex_cli_failed"),
    (None, 502, "codex_cli_failed"),
]


@pytest.mark.parametrize(("name", "status", "code"), NAMES, ids=str)
def test_a_name_keeps_its_meaning(name: object, status: int, code: str) -> None:
    error = failure_of_text("nobody knows this sentence", REDACT, name)
    assert (error.status, error.code) == (status, code)


def test_a_sentence_says_more_than_a_vague_name() -> None:
    error = failure_of_text("The model `x` does not exist", REDACT, "badRequest")
    assert (error.status, error.code) == (404, "model_not_found")


def test_a_refusal_of_the_login_holds_the_command_to_run() -> None:
    assert "codex login" in failure_of_text("unexpected status 401 Unauthorized", REDACT).message


def test_a_wait_that_upstream_names_is_told() -> None:
    error = failure_of_text("Rate limit reached. Please try again in 35 seconds.", REDACT)
    assert (error.status, error.retry_after) == (429, 35)


@pytest.mark.parametrize(
    "text", ["key-of-the-provider is wrong", '{"detail":"key-of-the-provider"}', "Bearer abcdefgh123"]
)
def test_no_failure_holds_a_secret(text: str) -> None:
    for error in (failure_of_text(text, REDACT), failure_of_exit(1, text, REDACT)):
        assert "key-of-the-provider" not in error.message and "abcdefgh123" not in error.message


@pytest.mark.parametrize(
    ("status", "stderr", "told"),
    [
        (
            3,
            "thread 'main' panicked",
            "ended with status 3 before the answer was complete. It said: thread 'main' panicked",
        ),
        (-9, "", "ended by signal 9 before"),
        (None, "", "ended before"),
        (0, "WARN 401 somewhere", "ended with status 0"),
        (2, "error: unexpected argument '--ephemeral' found", "too old"),
        (2, "error: unrecognized subcommand 'app-server'", "npm install -g @openai/codex@latest"),
        (2, "error: invalid value 'x' for '--sandbox <MODE>'", "too old"),
        (1, "x" * 100_000, "x" * 2000),
    ],
)
def test_an_early_end_is_told_with_its_reason(status: int | None, stderr: str, told: str) -> None:
    error = failure_of_exit(status, stderr, REDACT)
    assert (error.status, error.code) == (502, "codex_cli_failed")
    assert told in error.message
    assert len(error.message) < 3000
    assert is_ancient(stderr) == ("too old" in error.message)


NOON = datetime(2026, 11, 29, 12, 0, 30)


def reset_of(said: str, now: datetime = NOON, resets: tuple[float, ...] = ()) -> tuple[datetime | None, float | None]:
    """When a failure says that its limit ends, and in how many seconds."""
    error = failure_of_text(f"You\u2019ve hit your usage limit. {said}", REDACT, now=now.timestamp(), resets=resets)
    assert error.code == "usage_limit_reached"
    moment = error.extra.get("resets_at")
    return (datetime.fromtimestamp(moment) if isinstance(moment, int) else None), error.retry_after


@pytest.mark.parametrize(
    ("said", "now", "moment"),
    [
        ("Upgrade or try again at 2:09 PM.", NOON, datetime(2026, 11, 29, 14, 10)),
        ("Try again at 12:00 PM.", NOON, datetime(2026, 11, 29, 12, 1)),
        ("try again at 12:09 AM.", datetime(2026, 11, 29, 23, 59, 59), datetime(2026, 11, 30, 0, 10)),
        ("try again at Dec 2nd, 2026 12:09 AM.", NOON, datetime(2026, 12, 2, 0, 10)),
        ("try again at Jan 1st, 2027 1:00 PM.", NOON, datetime(2027, 1, 1, 13, 1)),
        ("try again at Dec 23rd, 2026 11:59 PM.", NOON, datetime(2026, 12, 24)),
        ("try again at Feb 30th, 2026 1:00 PM.", NOON, None),
        ("try again at 25:00 PM.", NOON, None),
        ("try again later.", NOON, None),
    ],
)
def test_a_spent_window_says_when_it_is_open_again(said: str, now: datetime, moment: datetime | None) -> None:
    found, seconds = reset_of(said[0].lower() + said[1:], now)
    assert found == moment
    assert seconds == (None if moment is None else (moment - now).total_seconds())


def test_the_second_comes_from_the_account_where_it_is_known() -> None:
    exact = datetime(2026, 11, 29, 14, 9, 17)
    other = datetime(2026, 12, 5, 14, 9, 17).timestamp()
    assert reset_of("try again at 2:09 PM.", resets=(other, exact.timestamp()))[0] == exact
    assert reset_of("try again at 2:10 PM.", resets=(other, exact.timestamp()))[0] == datetime(2026, 11, 29, 14, 11)


@given(st.text(), st.from_regex(r"[A-Z][a-z]{2} [0-9]{1,2}th, [0-9]{4} [0-9]{1,2}:[0-9]{2} [AP]M", fullmatch=True))
def test_no_words_about_a_time_break_the_error(text: str, time: str) -> None:
    for said in (text, f"hit your usage limit. try again at {time}"):
        assert failure_of_text(said, REDACT, now=NOON.timestamp()).message
