"""What upstream's own error codes mean to a caller.

See docs/reference/errors.md#gateway-refusals, docs/reference/errors.md#http-errors and
docs/reference/stream.md#failure-codes.

One table serves refusals over HTTP and failures inside a stream alike.
"""

import re
from dataclasses import dataclass
from typing import Any

from codexproxy.errors import (
    LONGEST_WAIT,
    ContextLengthExceeded,
    ModelNotFound,
    Overloaded,
    PermissionRefused,
    ProxyError,
    RateLimited,
    UpstreamFailed,
    UpstreamRejected,
)
from codexproxy.protocol.events import Event
from codexproxy.protocol.numbers import finite

# Fields of upstream's error object that clients act on (the Codex CLI shows the reset time).
_KEPT = ("plan_type", "resets_at", "resets_in_seconds")


@dataclass(frozen=True, slots=True)
class ErrorMapping:
    """How one upstream code is told to the caller.

    Attributes:
        error: The class that carries status and type.
        code: The code shown; upstream's own when None.
        retryable: Overrides the class where the same turn may, or must not, be tried again.
    """

    error: type[ProxyError]
    code: str | None = None
    retryable: bool | None = None


CODES: dict[str, ErrorMapping] = {
    "server_is_overloaded": ErrorMapping(Overloaded, "overloaded"),
    "slow_down": ErrorMapping(Overloaded, "overloaded"),
    "overloaded": ErrorMapping(Overloaded),
    "rate_limit_exceeded": ErrorMapping(RateLimited, retryable=True),
    "usage_limit_reached": ErrorMapping(RateLimited),
    "insufficient_quota": ErrorMapping(RateLimited),
    "usage_not_included": ErrorMapping(PermissionRefused),
    "deactivated_workspace": ErrorMapping(PermissionRefused, "account_deactivated"),
    "model_not_found": ErrorMapping(ModelNotFound),
    "context_length_exceeded": ErrorMapping(ContextLengthExceeded),
    "invalid_prompt": ErrorMapping(UpstreamRejected),
    "cyber_policy": ErrorMapping(UpstreamRejected),
    "bio_policy": ErrorMapping(UpstreamRejected),
    "invalid_encrypted_content": ErrorMapping(UpstreamRejected),
    "server_error": ErrorMapping(UpstreamFailed, "upstream_unavailable"),
}

# What upstream's words tell of the account ("Rate limit reached … in organization org-…"), whose turns others may ask.
_ACCOUNT = re.compile(r"\b(?:org|user|proj)-[A-Za-z0-9]{16,}|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_WITHHELD = "[redacted]"

# docs/reference/stream.md#failure-codes: "try again in 1.2s / 28ms / 35 seconds".
_TRY_AGAIN = re.compile(r"try again in (\d+(?:\.\d+)?)\s*(ms|milliseconds?|s|seconds?|m|minutes?)\b", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0}


def failure_of(event: Event) -> ProxyError | None:
    """The failure that an ``error`` or ``response.failed`` event reports, None for any other event."""
    if event.type not in ("error", "response.failed"):
        return None
    details = error_object(event.data)
    return failure_from(details, default=ErrorMapping(UpstreamFailed, "upstream_unavailable"))


def error_object(data: dict[str, Any]) -> dict[str, Any]:
    """The error inside an event or a body: nested, flat, or within a response.

    See docs/reference/stream.md#terminal-events.
    """
    response = data.get("response")
    for holder in (response if isinstance(response, dict) else {}, data):
        if isinstance(holder.get("error"), dict):
            return dict(holder["error"])
    # A flat event's own ``type`` is "error", which says nothing about the failure.
    return {key: value for key, value in data.items() if key not in ("type", "response")}


def failure_from(details: dict[str, Any], *, default: ErrorMapping, status: int | None = None) -> ProxyError:
    """The error to raise for upstream's error object.

    Args:
        details: ``{"code", "type", "message", "param", …}``, any of them absent.
        default: What an unknown code means.
        status: HTTP status shown for an unknown code; the class's own when None.
    """
    name = _known_name(details)
    meaning = CODES.get(name, default) if name else default
    message = (
        impersonal(text_of(details.get("message")) or "")
        or f"Upstream reported {name or 'a failure without a reason'}."
    )
    return meaning.error(
        message,
        code=meaning.code or name or text_of(details.get("code")),
        param=text_of(details.get("param")),
        status=status if meaning is default else None,
        retry_after=retry_after_of(details, message),
        extra={key: details[key] for key in _KEPT if details.get(key) is not None},
        retryable=meaning.retryable,
    )


def _known_name(details: dict[str, Any]) -> str | None:
    # A 429 names its reason in ``type``, everything else in ``code`` (docs/reference/errors.md#http-errors).
    for value in (details.get("code"), details.get("type")):
        if isinstance(value, str) and value in CODES:
            return value
    return None


def retry_after_of(details: dict[str, Any], message: str) -> float | None:
    """Seconds until a retry makes sense, from the object's reset or the message's own words."""
    seconds = details.get("resets_in_seconds")
    told = finite(seconds, -1.0, LONGEST_WAIT) if isinstance(seconds, int | float) else None
    if told is not None and told >= 0:
        return told
    found = _TRY_AGAIN.search(message)
    if found is None:
        return None
    unit = found.group(2).lower()
    factor = next(factor for prefix, factor in _SECONDS.items() if unit.startswith(prefix) or unit == prefix)
    return float(found.group(1)) * factor


def impersonal(text: str) -> str:
    """Upstream's words without the ids and addresses of whose account it is."""
    return _ACCOUNT.sub(_WITHHELD, text)


def impersonal_error(error: dict[str, Any]) -> dict[str, Any]:
    """Upstream's error object with an impersonal message; the object itself where that says the same."""
    message = text_of(error.get("message")) or ""
    told = impersonal(message)
    return error if told == message else {**error, "message": told}


def text_of(value: Any) -> str | None:
    """The value when it is a string with something in it."""
    return value if isinstance(value, str) and value else None
