"""Tokens of the fake issuer: well-formed JWTs, one-use refresh tokens.

See docs/reference/sign-in.md#token-refresh and docs/reference/sign-in.md#token-claims.
"""

import secrets
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

ISSUER = "https://auth.openai.com"
CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann"
FULL_SCOPE = "openid profile email offline_access"
TEN_DAYS = 864000.0

AUTH_CLAIM = "https://api.openai.com/auth"
PROFILE_CLAIM = "https://api.openai.com/profile"


class AccessRefused(Exception):
    """An access token that does not open the door; the kind is a key of ``refusals.UNAUTHORIZED``."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class RefreshRefused(Exception):
    """A refresh token that cannot be spent; the code is upstream's own."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Login:
    """One signed-in person; all its tokens are one family."""

    email: str = "dev@example.com"
    plan: str = "plus"
    account_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    user_id: str = field(default_factory=lambda: "user-" + secrets.token_hex(12))
    scope: str = FULL_SCOPE
    client_id: str = CLIENT_ID


@dataclass(slots=True)
class Access:
    """What is known of one access token; times in epoch seconds."""

    login: Login
    expires_at: float
    revoked: bool = False


@dataclass(slots=True)
class Refresh:
    """What is known of one refresh token: ``live``, ``used``, ``revoked`` or ``expired``."""

    login: Login
    state: str = "live"


@dataclass(frozen=True, slots=True)
class Pair:
    """Freshly issued tokens; times in epoch seconds."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    id_token: str = field(repr=False)
    login: Login
    issued_at: float
    expires_at: float

    def as_tokens_json(self) -> dict[str, Any]:
        """The content of ``tokens.json`` as the proxy keeps it, times in milliseconds."""
        return {
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "id_token": self.id_token,
            "expires_at": int(self.expires_at * 1000),
            "account_id": self.login.account_id,
            "updated_at": int(self.issued_at * 1000),
        }

    def as_oauth(self) -> dict[str, Any]:
        """The answer of the token endpoint (docs/reference/sign-in.md#code-exchange)."""
        scope = self.login.scope
        answer: dict[str, Any] = {
            "access_token": self.access_token,
            "expires_in": int(self.expires_at - self.issued_at),
            "token_type": "Bearer",
            "scope": scope,
        }
        if "openid" in scope.split():
            answer["id_token"] = self.id_token
        if "offline_access" in scope.split():
            answer["refresh_token"] = self.refresh_token
        return answer


class TokenStore:
    """Every token this issuer knows."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.lifetime = TEN_DAYS
        self.access: dict[str, Access] = {}
        self.refresh: dict[str, Refresh] = {}
        self.reused = 0

    def issue(self, login: Login, lifetime: float | None = None) -> Pair:
        """New tokens for a login; the lifetime is in seconds and may be negative."""
        now = self._clock()
        expires_at = now + (self.lifetime if lifetime is None else lifetime)
        pair = Pair(
            access_token=access_jwt(login, now, expires_at),
            refresh_token="rt_" + secrets.token_urlsafe(48),
            id_token=id_jwt(login, now, now + 3600),
            login=login,
            issued_at=now,
            expires_at=expires_at,
        )
        self.access[pair.access_token] = Access(login, expires_at)
        self.refresh[pair.refresh_token] = Refresh(login)
        return pair

    def check(self, token: str) -> Login:
        """Whose access token it is.

        Raises:
            AccessRefused: It is unknown, expired or revoked.
        """
        known = self.access.get(token)
        if known is None:
            raise AccessRefused("unknown" if token.count(".") == 2 else "unreadable")
        if known.revoked:
            raise AccessRefused("revoked")
        if known.expires_at <= self._clock():
            raise AccessRefused("expired")
        return known.login

    def spend(self, token: str) -> Login:
        """Uses up a refresh token.

        Raises:
            RefreshRefused: It was used before, revoked, expired or never issued.
        """
        known = self.refresh.get(token)
        state = known.state if known else "unknown"
        if known is None or state != "live":
            self.reused += state == "used"
            raise RefreshRefused(_REFRESH_CODES[state])
        known.state = "used"
        return known.login

    def revoke(self, token: str) -> bool:
        """Kills a token, and with a refresh token its whole family."""
        if token in self.refresh:
            self.revoke_family(self.refresh[token].login)
        elif token in self.access:
            self.access[token].revoked = True
        else:
            return False
        return True

    def revoke_family(self, login: Login) -> None:
        """Kills every token of one login."""
        for access in self.access.values():
            access.revoked = access.revoked or access.login is login
        for refresh in self.refresh.values():
            if refresh.login is login:
                refresh.state = "revoked"

    def expire(self, token: str) -> bool:
        """Lets a token's time be over."""
        if token in self.refresh:
            self.refresh[token].state = "expired"
        elif token in self.access:
            self.access[token].expires_at = self._clock()
        else:
            return False
        return True

    def known(self) -> dict[str, Any]:
        """All tokens and their state, for tests."""
        now = self._clock()
        return {
            "access": [
                {
                    "token": token,
                    "account_id": item.login.account_id,
                    "expires_at": item.expires_at,
                    "state": "revoked" if item.revoked else "live" if item.expires_at > now else "expired",
                }
                for token, item in self.access.items()
            ],
            "refresh": [
                {"token": token, "account_id": item.login.account_id, "state": item.state}
                for token, item in self.refresh.items()
            ],
        }


_REFRESH_CODES = {
    "used": "refresh_token_reused",
    "revoked": "refresh_token_invalidated",
    "expired": "refresh_token_expired",
    "unknown": "token_not_found",
}


def access_jwt(login: Login, issued_at: float, expires_at: float) -> str:
    """An access token with the claims of a real one (docs/reference/sign-in.md#token-claims)."""
    claims: dict[str, Any] = {
        "aud": ["https://api.openai.com/v1"],
        "client_id": login.client_id,
        "scp": login.scope.split(),
    }
    claims[PROFILE_CLAIM] = {"email": login.email, "email_verified": True}
    return _jwt(login, claims, issued_at, expires_at)


def id_jwt(login: Login, issued_at: float, expires_at: float) -> str:
    """An id token; the email is at its top level."""
    claims = {"aud": [login.client_id], "email": login.email, "email_verified": True, "name": "Simulated Person"}
    return _jwt(login, claims, issued_at, expires_at)


def _jwt(login: Login, claims: dict[str, Any], issued_at: float, expires_at: float) -> str:
    auth = {
        "chatgpt_account_id": login.account_id,
        "chatgpt_plan_type": login.plan,
        "chatgpt_user_id": login.user_id,
        "user_id": login.user_id,
        "chatgpt_account_is_fedramp": False,
        "organizations": [{"id": "org-simulated", "is_default": True, "role": "owner", "title": "Personal"}],
    }
    common = {"iss": ISSUER, "sub": f"auth0|{login.user_id}", "jti": secrets.token_hex(8), AUTH_CLAIM: auth}
    times = {"iat": int(issued_at), "nbf": int(issued_at), "exp": int(expires_at)}
    header = {"alg": "RS256", "kid": "simulator", "typ": "JWT"}
    parts = [orjson.dumps(header), orjson.dumps({**common, **claims, **times}), secrets.token_bytes(32)]
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
