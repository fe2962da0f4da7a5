"""Proof Key for Code Exchange (RFC 7636, S256) and the anti-forgery ``state``."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

STATE_BYTES = 32
VERIFIER_BYTES = 64  # 86 characters, as the real client's (docs/reference/sign-in.md#browser-login)

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Pkce:
    """A verifier and its challenge.

    Attributes:
        verifier: The secret, sent only with the code.
        challenge: Its SHA-256, sent with the authorize request.
    """

    verifier: str = field(repr=False)
    challenge: str


def new_pkce(random_bytes: RandomBytes = secrets.token_bytes) -> Pkce:
    """A fresh pair."""
    verifier = _base64url(random_bytes(VERIFIER_BYTES))
    return Pkce(verifier, challenge_of(verifier))


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 §4.2)."""
    return _base64url(hashlib.sha256(verifier.encode("ascii")).digest())


def new_state(random_bytes: RandomBytes = secrets.token_bytes) -> str:
    """A fresh ``state``: 43 characters."""
    return _base64url(random_bytes(STATE_BYTES))


def same(one: str, other: str) -> bool:
    """Compares two secrets in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
