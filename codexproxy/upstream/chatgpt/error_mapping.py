"""Upstream's answers that are no streams, as errors of ours.

See docs/reference/errors.md#gateway-refusals and docs/reference/errors.md#http-errors.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from codexproxy.errors import (
    LONGEST_WAIT,
    ModelNotFound,
    Overloaded,
    PermissionRefused,
    ProxyError,
    RateLimited,
    UpstreamFailed,
    UpstreamRejected,
)
from codexproxy.protocol.error_mapping import CODES, ErrorMapping, error_object, failure_from, text_of

# Upstream's bodies are small; more than this is a page of somebody else's.
MAX_BODY_BYTES = 256 * 1024

BY_STATUS: dict[int, ErrorMapping] = {
    402: ErrorMapping(PermissionRefused, "account_deactivated"),
    403: ErrorMapping(PermissionRefused, "upstream_forbidden"),
    429: ErrorMapping(RateLimited, "rate_limit_exceeded"),
    503: ErrorMapping(Overloaded, "overloaded"),
}
_CLIENT_ERROR = ErrorMapping(UpstreamRejected)
_SERVER_ERROR = ErrorMapping(UpstreamFailed, "upstream_unavailable")
_REFUSED_MODEL = ErrorMapping(ModelNotFound, "model_not_found")

# What an upstream may quote of a request, and nobody should read: JWTs and refresh tokens
# (docs/reference/sign-in.md#tokens).
_CREDENTIAL = re.compile(rb"\beyJ[\w-]{6,}(?:\.[\w-]*)*|\brt_[\w.-]{6,}")
REDACTED = b"[redacted]"

# Where an HTML page is the edge's own and not a broken upstream's.
_EDGE_STATUSES = frozenset({200, 403, 429, 503})

_CHALLENGE = (
    "Upstream's edge answered with a challenge page instead of the API. It distrusts the network this "
    "service runs in, not your login: try another network or an egress proxy (HTTPS_PROXY)."
)


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> ProxyError:
    """The error for an HTTP answer other than 200.

    Args:
        status: Upstream's status.
        headers: Upstream's headers, looked up in lower case.
        body: Up to ``MAX_BODY_BYTES`` of its body.
    """
    if is_challenge(headers, body) and (status in _EDGE_STATUSES or "cf-ray" in headers or "cf-mitigated" in headers):
        return UpstreamFailed(_CHALLENGE, code="upstream_challenge", retryable=False)
    details = _details(_CREDENTIAL.sub(REDACTED, body))
    details = {"message": _unexplained(status, details.get("code")), **details}
    error = failure_from(details, default=_meaning(status, details))
    error.upstream_status = status
    if error.status == PermissionRefused.status and status in (402, 403):
        error.status = status
    if isinstance(error, RateLimited):
        error.retry_after = error.retry_after or seconds_in(headers.get("retry-after"))
        error.retryable = _is_short(error)
    return error


def _unexplained(status: int, code: object) -> str:
    if code == "deactivated_workspace":
        return "The workspace of this account is deactivated. Sign in to another one with `codexproxy login`."
    return (
        f"Upstream answered {status} ({str(code)[:60]})." if code else f"Upstream answered {status} without a reason."
    )


def is_no_stream(content_type: str) -> bool:
    """Whether a 200 to a turn cannot be its stream; streams carry no content type at times.

    See docs/reference/quota.md#response-headers.
    """
    return content_type.partition(";")[0].strip().lower() in ("text/html", "application/json")


def _meaning(status: int, details: dict[str, Any]) -> ErrorMapping:
    message = str(details.get("message") or "")
    if status in (400, 404) and "model" in message and "not supported when using Codex" in message:
        return _REFUSED_MODEL
    return BY_STATUS.get(status) or (_SERVER_ERROR if status >= 500 or status < 400 else _CLIENT_ERROR)


def _is_short(error: ProxyError) -> bool:
    # Waiting longer than this inside a request helps nobody.
    return error.code == "rate_limit_exceeded" and error.retry_after is not None and error.retry_after <= 2


def _details(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(data, dict):
        return {}
    detail = data.get("detail")
    if isinstance(detail, dict):
        return detail
    if isinstance(detail, list):
        # FastAPI's form: a list of places and messages.
        found = [entry["msg"] for entry in detail if isinstance(entry, dict) and text_of(entry.get("msg"))]
        return {"message": "; ".join(found)} if found else {}
    return {"message": detail} if text_of(detail) else error_object(data)


def lacks_route(error: ProxyError) -> bool:
    """Whether a refusal means that upstream has nothing at this address."""
    return isinstance(error, UpstreamRejected) and error.upstream_status in (404, 405)


def is_challenge(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether an HTML page came where JSON belongs (docs/reference/clients.md#pages-of-cloudflares)."""
    if headers.get("cf-mitigated") == "challenge":
        return True
    start = body[:512].lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html"))


def seconds_in(value: str | None) -> float | None:
    """A ``Retry-After`` in seconds, None when it is absent, a date, or no wait at all."""
    try:
        seconds = float(value) if value else None
    except ValueError:
        return None
    return max(0.0, seconds) if seconds is not None and seconds < LONGEST_WAIT else None


__all__ = ["BY_STATUS", "CODES", "MAX_BODY_BYTES", "REDACTED", "is_challenge", "lacks_route", "refusal", "seconds_in"]
