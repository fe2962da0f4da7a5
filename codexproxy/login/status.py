"""What may be told about a login: never a token."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from codexproxy.login.tokens.env_import import UNTAKEN, WARNING, Seeding, compare
from codexproxy.login.tokens.tokens import NEVER, Tokens


@dataclass(frozen=True, slots=True)
class LoginStatus:
    """The facts of a login. Times are epoch milliseconds; None where unknown.

    Attributes:
        state: ``ok``, ``due`` (to be renewed, still works), ``expired`` (to be renewed before it works again),
            ``dead`` (only a new login helps; the access token may still work), ``not_logged_in``.
        usable: Whether the access token works now, as far as its time tells.
        source: Where the login is kept.
        ends_at: End of the access token.
        refreshed_at: When the pair was received.
        refresh_error: Why it cannot be renewed; empty when it can.
        warning: What the owner should know; empty when there is nothing.
    """

    state: str
    usable: bool
    source: str
    email: str = ""
    plan: str = ""
    account_id: str = ""
    ends_at: int | None = None
    refreshed_at: int | None = None
    refresh_error: str = ""
    warning: str = ""

    @property
    def ready(self) -> bool:
        """Whether turns can be served: the access token works, or can be renewed."""
        return self.usable or self.state in ("due", "expired")

    def as_dict(self) -> dict[str, Any]:
        """For ``status --json`` and ``GET /auth/status``; times as RFC 3339."""
        return {
            "logged_in": self.state != "not_logged_in",
            "state": self.state,
            "usable": self.usable,
            "email": self.email or None,
            "plan": self.plan or None,
            "account_id": self.account_id or None,
            "access_token_ends_at": _iso(self.ends_at),
            "refreshed_at": _iso(self.refreshed_at),
            "refresh_error": self.refresh_error or None,
            "source": self.source,
            "warning": self.warning or None,
        }


def describe(tokens: Tokens | None, now: int, source: str, offered: Tokens | None = None) -> LoginStatus:
    """The status of a login.

    Args:
        tokens: The login; None without one.
        now: Epoch milliseconds.
        source: What the place is called that holds it.
        offered: The login in ``CODEX_TOKENS_JSON``, if any.
    """
    if tokens is None:
        return LoginStatus("not_logged_in", False, source, warning=UNTAKEN if offered else "")
    identity = tokens.identity
    return LoginStatus(
        state=_state(tokens, now),
        usable=tokens.usable(now),
        source=source,
        email=identity.email,
        plan=identity.plan,
        account_id=tokens.account_id,
        ends_at=tokens.ends_at if 0 < tokens.ends_at < NEVER else None,
        refreshed_at=tokens.updated_at or None,
        refresh_error=tokens.refresh_error,
        warning=WARNING if compare(tokens, offered) is Seeding.OUTDATED else "",
    )


def _state(tokens: Tokens, now: int) -> str:
    if tokens.refresh_error or (not tokens.refresh_token and tokens.due(now)):
        return "dead"
    if not tokens.due(now):
        return "ok"
    return "due" if tokens.usable(now) else "expired"


def _iso(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds // 1000, UTC).isoformat().replace("+00:00", "Z")
