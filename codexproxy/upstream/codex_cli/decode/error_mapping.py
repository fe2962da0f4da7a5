"""What the CLI's own words about a failure mean to a caller.

See docs/reference/stream.md#failure-codes and docs/reference/codex-cli.md#as-a-client-of-ours.

``codex exec`` reports every failure as a sentence; the app-server adds a name.
Sentences that are the JSON body of a refusal are read as such.
"""

import re
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from codexproxy.errors import (
    ContextLengthExceeded,
    LoginExpired,
    ModelNotFound,
    NotLoggedIn,
    Overloaded,
    PermissionRefused,
    ProxyError,
    RateLimited,
    UpstreamFailed,
    UpstreamRejected,
)
from codexproxy.observability.redaction import Redactor
from codexproxy.protocol.error_mapping import ErrorMapping, failure_from
from codexproxy.protocol.events import decode_object

LOGIN_HINT = "Please sign in to the Codex CLI with `codex login`, or check the key of its model provider."
UPDATE_HINT = "Please update it: `npm install -g @openai/codex@latest`."

# Longer texts say nothing more.
_SHOWN = 2000

_FAILED = ErrorMapping(UpstreamFailed, "codex_cli_failed")
_UNAVAILABLE = ErrorMapping(UpstreamFailed, "upstream_unavailable")
_REJECTED = ErrorMapping(UpstreamRejected)
_EXPIRED = ErrorMapping(LoginExpired)
_LIMITED = ErrorMapping(RateLimited, "rate_limit_exceeded", retryable=True)
_EXHAUSTED = ErrorMapping(RateLimited, "usage_limit_reached")
_TOO_LONG = ErrorMapping(ContextLengthExceeded)
_OVERLOADED = ErrorMapping(Overloaded, "overloaded")
_NO_MODEL = ErrorMapping(ModelNotFound, "model_not_found")
_FORBIDDEN = ErrorMapping(PermissionRefused, "upstream_forbidden")

# Sentence -> meaning; the first that fits wins.
_SENTENCES: tuple[tuple[str, ErrorMapping], ...] = (
    (r"hit your usage limit|usage limit has been reached", _EXHAUSTED),
    (r"quota exceeded|insufficient_quota", ErrorMapping(RateLimited, "insufficient_quota")),
    (r"to use codex with your chatgpt plan", ErrorMapping(PermissionRefused, "usage_not_included")),
    (r"ran out of room in the model's context window", _TOO_LONG),
    (r"model is at capacity|server_is_overloaded|currently overloaded", _OVERLOADED),
    (r"model_not_found|\bmodel\b.{0,200}\b(?:does not exist|not found|not supported|not available)", _NO_MODEL),
    (r"not logged in|no api key|missing environment variable|authentication required", ErrorMapping(NotLoggedIn)),
    (r"\b401\b|unauthorized|refresh token|sign in again", _EXPIRED),
    (r"\b429\b|rate limit|too many requests", _LIMITED),
    (r"\b403\b|forbidden", _FORBIDDEN),
    (r"stream closed before response\.completed", ErrorMapping(UpstreamFailed, "upstream_truncated")),
    (r"\b50[0-4]\b|stream disconnected|error sending request|connection failed", _UNAVAILABLE),
)
_PATTERNS = tuple((re.compile(pattern, re.IGNORECASE | re.DOTALL), meaning) for pattern, meaning in _SENTENCES)

# ``codexErrorInfo`` of the app-server -> meaning.
_NAMES: dict[str, ErrorMapping] = {
    "contextWindowExceeded": _TOO_LONG,
    "usageLimitExceeded": _EXHAUSTED,
    "sessionBudgetExceeded": _EXHAUSTED,
    "rateLimitExceeded": _LIMITED,
    "serverOverloaded": _OVERLOADED,
    "flexUnavailable": _OVERLOADED,
    "policyCapacityUnavailable": _OVERLOADED,
    "modelNotFound": _NO_MODEL,
    "cyberPolicy": ErrorMapping(UpstreamRejected, "cyber_policy"),
    "misalignmentPolicyViolation": ErrorMapping(UpstreamRejected, "invalid_prompt"),
    "inferenceHookDenied": _REJECTED,
    "unauthorized": _EXPIRED,
}

# Names and statuses that a sentence may say more about.
_VAGUE_NAMES: dict[str, ErrorMapping] = {"badRequest": _REJECTED, "internalServerError": _UNAVAILABLE}
_STATUSES: dict[int, ErrorMapping] = {
    400: _REJECTED,
    401: _EXPIRED,
    402: ErrorMapping(PermissionRefused, "account_deactivated"),
    403: _FORBIDDEN,
    429: _LIMITED,
}

# The CLI says so after some seconds, and again with ever longer pauses; the second time we give up.
OFFLINE_REPORTS = 2
_OFFLINE = "waiting for network"

# What a CLI says that does not know an option or a subcommand of ours.
_ANCIENT = re.compile(r"unexpected argument|unrecognized (?:subcommand|option)|invalid value .{0,80} for '--", re.I)


def failure_of_text(
    text: str,
    redact: Redactor,
    name: object = None,
    *,
    now: float | None = None,
    resets: Sequence[float] = (),
) -> ProxyError:
    """The error for a failed turn.

    Args:
        text: The CLI's message.
        redact: Takes secrets out of it.
        name: ``codexErrorInfo``, where the app-server gave one.
        now: Epoch seconds.
        resets: When the account's windows reset, in epoch seconds, as far as the app-server said.
    """
    now = time.time() if now is None else now
    known = _NAMES.get(name) if isinstance(name, str) else None
    meaning = known or _of_sentence(text) or _of_vague(name)
    body = _body_in(text)
    message = redact(str(body.get("message") or "") if body else text).strip()[:_SHOWN]
    details = {**_reset_in(text, now, resets), **(body or {}), "message": message}
    return _error(details, meaning or (_REJECTED if body else _FAILED))


# "try again at 5:46 AM." of today, "try again at Dec 2nd, 2026 12:09 AM.", both in local time and without seconds.
_TRY_AT = re.compile(
    r"try again at (?:([A-Z][a-z]{2}) (\d{1,2})(?:st|nd|rd|th), (\d{4}) )?(\d{1,2}:\d\d [AP]M)\b", re.ASCII
)
_MINUTE = 60.0


def _reset_in(text: str, now: float, resets: Sequence[float]) -> dict[str, float]:
    """When the CLI says that its limit ends, as upstream's own fields; empty when it does not say."""
    found = _TRY_AT.search(text)
    if found is None:
        return {}
    month, day, year, clock = found.groups()
    today = datetime.fromtimestamp(now)
    date = f"{month} {day} {year}" if month else today.strftime("%b %d %Y")
    try:
        moment = datetime.strptime(f"{date} {clock}", "%b %d %Y %I:%M %p")
        if not month and moment < today - timedelta(hours=1):
            moment += timedelta(days=1)
        begin = moment.timestamp()
    except (ValueError, OverflowError, OSError):
        return {}
    # The minute has begun when it is over, so that nobody comes too early.
    reset = next((known for known in resets if begin <= known < begin + _MINUTE), begin + _MINUTE)
    return {"resets_at": int(reset), "resets_in_seconds": max(0.0, reset - now)}


def failure_of_exit(status: int | None, stderr: str, redact: Redactor) -> ProxyError:
    """The error for a CLI that ended without finishing its turn.

    Args:
        status: Its exit status; negative when a signal ended it, None when it is unknown.
        stderr: The end of its standard error.
        redact: Takes secrets out of it.
    """
    said = f" It said: {redact(stderr).strip()[-_SHOWN:]}" if stderr.strip() else ""
    if is_ancient(stderr):
        return _error({"message": f"The installed Codex CLI is too old. {UPDATE_HINT}{said}"}, _FAILED)
    ending = "" if status is None else f" by signal {-status}" if status < 0 else f" with status {status}"
    return _error({"message": f"The Codex CLI ended{ending} before the answer was complete.{said}"}, _FAILED)


def is_offline(text: str) -> bool:
    """Whether the CLI has no connection and waits for one, which it does without an end."""
    return _OFFLINE in text


def is_ancient(stderr: str) -> bool:
    """Whether a CLI complains about an option that every current one has."""
    return bool(_ANCIENT.search(stderr))


def _error(details: dict[str, Any], meaning: ErrorMapping) -> ProxyError:
    message = details["message"] or "The Codex CLI failed without a reason."
    if issubclass(meaning.error, NotLoggedIn | LoginExpired):
        message = f"{message} {LOGIN_HINT}"
    return failure_from({**details, "message": message}, default=meaning)


def _of_sentence(text: str) -> ErrorMapping | None:
    return next((meaning for pattern, meaning in _PATTERNS if pattern.search(text)), None)


def _of_vague(name: object) -> ErrorMapping | None:
    if isinstance(name, str):
        return _VAGUE_NAMES.get(name)
    if not isinstance(name, dict):
        return None
    # {"responseTooManyFailedAttempts": {"httpStatusCode": 429}}: only the status tells.
    details = [value for value in name.values() if isinstance(value, dict)]
    status = details[0].get("httpStatusCode") if details else None
    return _STATUSES.get(status, _UNAVAILABLE) if isinstance(status, int) else None


def _body_in(text: str) -> dict[str, Any] | None:
    """The error object when the message holds the body of a refusal.

    See docs/reference/errors.md#gateway-refusals and docs/reference/errors.md#http-errors.
    """
    start = text.find("{")
    if start < 0 or not text.rstrip().endswith("}"):
        return None
    try:
        body = decode_object(text[start:].encode("utf-8", "replace"))
    except UpstreamFailed:
        return None
    error = body.get("error")
    if isinstance(error, dict):
        return error
    detail = body.get("detail")
    return {"message": detail} if isinstance(detail, str) else None
