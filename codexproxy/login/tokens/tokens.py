"""The token pair as the login file holds it, and when it has to be renewed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from codexproxy.errors import NotLoggedIn
from codexproxy.login.tokens.jwt import Claims, claims_or_none
from codexproxy.protocol.request import Credential

FIVE_MINUTES = 5 * 60 * 1000
EIGHT_DAYS = 8 * 24 * 60 * 60 * 1000  # where no end is known (docs/reference/sign-in.md#token-refresh)
NEVER = 1 << 62

# Smaller numbers are epoch seconds, written by hand or by another program.
_SMALLEST_MILLISECONDS = 10**11

_TEXTS = ("access_token", "refresh_token", "id_token", "account_id", "refresh_error")
_IN_HEADERS = ("access_token", "account_id")
_TIMES = ("expires_at", "updated_at", "refresh_error_at")
_FOR_FAILURES = ("refresh_error", "refresh_error_at")


class BrokenLogin(NotLoggedIn):
    """A login file, or a variable in its place, that holds no login.

    Args:
        name: What the place is called.
        reason: What is wrong with it; never a part of the content.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} holds no readable login: {reason}. Run `codexproxy login` to make a new one.")


@dataclass(frozen=True, slots=True)
class Grant:
    """What the issuer answered; every field may be missing from a refresh (docs/reference/sign-in.md#token-refresh).

    Attributes:
        expires_in: Seconds the access token lives, as announced beside it.
    """

    access_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    id_token: str = field(default="", repr=False)
    expires_in: float | None = None


@dataclass(frozen=True)
class Tokens:
    """One login. All times are epoch milliseconds; 0 means unknown.

    Attributes:
        updated_at: When the pair was received.
        refresh_error: Why the issuer will take this refresh token no more.
        refresh_error_at: When it said so.
        extra: Fields of the file that are not ours; kept when it is rewritten.
    """

    access_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    id_token: str = field(default="", repr=False)
    account_id: str = ""
    expires_at: int = 0
    updated_at: int = 0
    refresh_error: str = ""
    refresh_error_at: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls, value: Any, name: str = "The login") -> Self:
        """Reads the object of the login file; fields of a wrong type count as missing.

        Args:
            value: The parsed JSON.
            name: What the file is called in the message of an error.

        Raises:
            BrokenLogin: There is neither an access token nor a refresh token in it, or no header can carry what is.
        """
        if not isinstance(value, dict):
            raise BrokenLogin(name, "it is not a JSON object")
        known: dict[str, Any] = {field: _text(value.get(field)) for field in _TEXTS}
        known |= {field: _milliseconds(value.get(field)) for field in _TIMES}
        if not known["access_token"] and not known["refresh_token"]:
            raise BrokenLogin(name, "it has neither an access_token nor a refresh_token")
        for text in _IN_HEADERS:
            if not fits_a_header(known[text]):
                raise BrokenLogin(name, f"its {text} holds characters that no token has")
        tokens = cls(**known, extra={field: item for field, item in value.items() if field not in known})
        return replace(tokens, account_id=tokens.account_id or tokens.claimed_account)

    def to_json(self) -> dict[str, Any]:
        """The object of the login file."""
        known = {name: getattr(self, name) for name in (*_TEXTS, *_TIMES)}
        shown = {name: item for name, item in known.items() if item or name not in _FOR_FAILURES}
        return {**self.extra, **shown}

    @classmethod
    def granted(cls, grant: Grant, now: int) -> Self:
        """The tokens of a new login, received at ``now``."""
        return cls().renewed(grant, now)

    def renewed(self, grant: Grant, now: int) -> Self:
        """The tokens after a refresh answered at ``now``; what the answer lacks stays as it was."""
        access = grant.access_token or self.access_token
        renewed = replace(
            self,
            access_token=access,
            refresh_token=grant.refresh_token or self.refresh_token,
            id_token=grant.id_token or self.id_token,
            expires_at=self.expires_at if access == self.access_token else _end(access, grant, now),
            updated_at=now,
            refresh_error="",
            refresh_error_at=0,
        )
        return replace(renewed, account_id=self.account_id or renewed.claimed_account)

    def buried(self, error: str, now: int) -> Self:
        """The tokens with the note that their refresh token is dead."""
        return replace(self, refresh_error=error, refresh_error_at=now)

    def with_verdict_of(self, other: "Tokens | None") -> Self:
        """The tokens with what ``other`` knows of the same refresh token's death."""
        if other is None or self.refresh_error or other.refresh_token != self.refresh_token:
            return self
        return replace(self, refresh_error=other.refresh_error, refresh_error_at=other.refresh_error_at)

    @cached_property
    def access(self) -> Credential:
        """What backends get."""
        return Credential(self.access_token, self.account_id)

    @cached_property
    def claimed_account(self) -> str:
        """The account that the tokens themselves name; the id token is asked first."""
        claimed = self.identity.account_id or self._claims.account_id
        return claimed if fits_a_header(claimed) else ""

    @cached_property
    def identity(self) -> Claims:
        """The id token's claims, empty when it is missing or opaque."""
        return claims_or_none(self.id_token)

    @cached_property
    def _claims(self) -> Claims:
        return claims_or_none(self.access_token)

    @cached_property
    def ends_at(self) -> int:
        """End of the access token: its own ``exp``, else ``expires_at``, else never."""
        if not self.access_token:
            return 0
        if self._claims.expires_at is not None:
            return int(self._claims.expires_at * 1000)
        return self.expires_at or NEVER

    @cached_property
    def due_at(self) -> int:
        """When to refresh: five minutes or 20 % of the lifetime before the end, whichever is less."""
        if self.ends_at == NEVER:
            return self.updated_at + EIGHT_DAYS
        return self.ends_at - min(FIVE_MINUTES, self._lifetime // 5)

    @property
    def _lifetime(self) -> int:
        if self._claims.lifetime is not None:
            lifetime = int(self._claims.lifetime * 1000)
        else:
            lifetime = self.ends_at - self.updated_at
        # A lifetime that cannot be is no lifetime; the usual one is ten days.
        return lifetime if lifetime > 0 else NEVER

    def account_differs(self, before: "Tokens") -> bool:
        """Whether these tokens name another account than those ``before`` them."""
        pairs = ((before.identity, self.identity), (before._claims, self._claims))
        return any(
            new.account_id and (old.account_id or before.account_id) not in ("", new.account_id) for old, new in pairs
        )

    def usable(self, now: int) -> bool:
        """Whether the access token has not ended yet."""
        return now < self.ends_at

    def due(self, now: int) -> bool:
        """Whether it is time to refresh."""
        return now >= self.due_at


def _end(access: str, grant: Grant, now: int) -> int:
    claimed = claims_or_none(access).expires_at
    if claimed is not None:
        return int(claimed * 1000)
    return now + int(grant.expires_in * 1000) if grant.expires_in else 0


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def fits_a_header(value: str) -> bool:
    """Whether a token or an account's id can be sent to upstream."""
    # RFC 6750 §2.1 allows fewer still; more would end up as a broken header, or as two.
    return value.isascii() and value.isprintable()


def _milliseconds(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < NEVER:
        return 0
    return int(value * 1000) if value < _SMALLEST_MILLISECONDS else int(value)
