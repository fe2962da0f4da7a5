"""What the Codex CLI and its backend tell each other around a turn.

See docs/reference/requests.md#headers-of-a-turn and docs/reference/quota.md#response-headers.

The CLI may be our client as it is the backend's: then these headers pass, and
refusals have the shape it acts on instead of the public one.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from codexproxy.errors import ProxyError

Json = dict[str, Any]

ACCOUNT = "chatgpt-account-id"

# Of a request: what the backend routes and caches by. The header for lite models
# is not among them, since it has to go with the body that is sent
# (docs/reference/requests.md#the-responses-lite-shape).
_SENT = ("x-codex-turn-metadata", "x-codex-window-id", "x-codex-beta-features", "x-codex-turn-state")

# Of an answer: quota windows, the model that answered, what to send back.
_TOLD_PREFIX = "x-codex-"
_TOLD = frozenset({"openai-model", "x-reasoning-included"})

_OWNERS_PREFIX = "x-codex-credits-"

# Of the usage report: who it is that upstream knows, which the CLI does not need; and what any caller may see.
_PERSONAL = frozenset({"user_id", "account_id", "email"})
_WINDOWS = frozenset(
    {"plan_type", "rate_limit", "code_review_rate_limit", "additional_rate_limits", "rate_limit_reached_type"}
)

# Our code -> status, and the names upstream has for it.
_REFUSALS: dict[str, tuple[int, Json]] = {
    "usage_limit_reached": (429, {"type": "usage_limit_reached"}),
    "usage_not_included": (429, {"type": "usage_not_included"}),
    "overloaded": (503, {"code": "server_is_overloaded"}),
}


class Headers(Protocol):
    """A request's headers."""

    def get(self, key: str, /) -> str | None:
        """A header's value, None when it is absent."""


def sent(headers: Headers) -> dict[str, str]:
    """The headers of the CLI's request that go upstream with its turn."""
    found = {name: headers.get(name) for name in _SENT}
    return {name: value for name, value in found.items() if value}


def told(headers: Mapping[str, str], *, whole: bool) -> dict[str, str]:
    """The headers of upstream's answer, names in lower case, that the CLI reads.

    Args:
        headers: Upstream's.
        whole: Whether the caller owns the account; others learn nothing of its credits.
    """
    read = {name: value for name, value in headers.items() if name.startswith(_TOLD_PREFIX) or name in _TOLD}
    return read if whole else {name: value for name, value in read.items() if not name.startswith(_OWNERS_PREFIX)}


def usage_told(report: Mapping[str, Any], *, whole: bool) -> Json:
    """What of upstream's usage report the CLI is shown.

    Args:
        report: Upstream's.
        whole: Whether the caller owns the account; others see its plan and windows only.
    """
    if whole:
        return {name: value for name, value in report.items() if name not in _PERSONAL}
    return {name: value for name, value in report.items() if name in _WINDOWS}


def refused(error: ProxyError, clock: Callable[[], float] = time.time) -> tuple[int, Json]:
    """Status and error object of a refusal, in the words the CLI knows.

    It shows when a usage limit ends only where the limit is named in ``type``
    and ``resets_at`` is there (docs/reference/errors.md#http-errors).
    """
    if error.code not in _REFUSALS:
        return error.status, error.as_dict()
    status, names = _REFUSALS[error.code]
    body = {**error.as_dict(), **names}
    if error.retry_after is not None and status == 429:
        body.setdefault("resets_in_seconds", round(error.retry_after))
        body.setdefault("resets_at", round(clock() + error.retry_after))
    return status, body


def accounts(account: str | None, origin: str, plan: str | None) -> Json:
    """The answer of ``wham/accounts/check``: one account, whose turns come to us.

    Args:
        account: The account the CLI believes to have.
        origin: Our own origin; the CLI takes only ``https`` ones.
        plan: The plan, where known.
    """
    id = account or "default"
    entry = {
        "id": id,
        "name": "codexproxy",
        "structure": "personal",
        "plan_type": plan or "unknown",
        "is_deactivated": False,
        "workspace_backend_origin": origin,
        "account_routing_override": "NO_CONSTRAINT",
    }
    return {"accounts": [entry], "account_ordering": [id], "default_account_id": id}
