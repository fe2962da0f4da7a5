"""What the issuer's tokens say about themselves (docs/reference/sign-in.md#token-claims).

Signatures are not checked: the tokens come from the issuer over TLS, and only
upstream has to believe them.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codexproxy.errors import UpstreamFailed

AUTH_CLAIM = "https://api.openai.com/auth"
PROFILE_CLAIM = "https://api.openai.com/profile"

# The year 5138; anything later is no time and would overflow somebody.
_LATEST = 10**11


class BrokenToken(UpstreamFailed):
    """A token that should be a JWT is none."""

    code = "broken_token"
    retryable = False


@dataclass(frozen=True, slots=True)
class Claims:
    """What was found in a token; absent claims are empty.

    Attributes:
        account_id: The ChatGPT account, sent upstream as ``chatgpt-account-id``.
        user_id: The user within the account.
        plan: ``free``, ``plus``, ``pro``, ``team``, …
        email: Address of the user.
        expires_at: End of the token's life, epoch seconds.
        issued_at: When it was made, epoch seconds.
    """

    account_id: str = ""
    user_id: str = ""
    plan: str = ""
    email: str = ""
    expires_at: float | None = None
    issued_at: float | None = None

    @property
    def lifetime(self) -> float | None:
        """How long the token lives from its making, in seconds."""
        if self.expires_at is None or self.issued_at is None:
            return None
        return self.expires_at - self.issued_at


def read_claims(token: str) -> Claims:
    """Reads a JWT's claims without verifying its signature.

    Raises:
        BrokenToken: It does not have the form of a JWT.
    """
    payload = _payload(token)
    auth = _object(payload, AUTH_CLAIM)
    return Claims(
        account_id=_text(auth, "chatgpt_account_id"),
        user_id=_text(auth, "chatgpt_user_id") or _text(auth, "user_id"),
        plan=_text(auth, "chatgpt_plan_type"),
        email=_text(payload, "email") or _text(_object(payload, PROFILE_CLAIM), "email"),
        expires_at=_time(payload, "exp"),
        issued_at=_time(payload, "iat"),
    )


def claims_or_none(token: str) -> Claims:
    """As ``read_claims``, with empty claims for a token that is opaque or missing."""
    try:
        return read_claims(token)
    except BrokenToken:
        return Claims()


def _payload(token: str) -> Mapping[str, Any]:
    parts = token.split(".")
    if len(parts) != 3:
        raise BrokenToken("The login service sent a token that is not a JWT. Please log in again.")
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        value = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        # The cause would quote the token, so it is not chained.
        reason = type(error).__name__
        raise BrokenToken(f"The login service sent an unreadable token ({reason}). Please log in again.") from None
    if not isinstance(value, dict):
        raise BrokenToken("The login service sent a token without claims. Please log in again.")
    return value


def _object(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = payload.get(name)
    return value if isinstance(value, dict) else {}


def _text(payload: Mapping[str, Any], name: str) -> str:
    value = payload.get(name)
    return value if isinstance(value, str) else ""


def _time(payload: Mapping[str, Any], name: str) -> float | None:
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value < _LATEST else None
