"""Tokens that look like the issuer's, made without a key."""

import base64
import json
from typing import Any

ACCOUNT = "11111111-2222-3333-4444-555555555555"


def make_jwt(
    *,
    exp: float | None = None,
    iat: float | None = None,
    account: str | None = ACCOUNT,
    email: str | None = None,
    plan: str | None = None,
    **claims: Any,
) -> str:
    """A JWT with the given claims (docs/reference/sign-in.md#token-claims); ``exp`` and ``iat`` in epoch seconds."""
    auth = {"chatgpt_account_id": account, "chatgpt_plan_type": plan}
    payload = {"exp": exp, "iat": iat, "email": email, **claims}
    payload = {name: value for name, value in payload.items() if value is not None}
    payload["https://api.openai.com/auth"] = {name: value for name, value in auth.items() if value is not None}
    return ".".join((segment({"alg": "RS256", "typ": "JWT"}), segment(payload), "c2lnbmF0dXJl"))


def segment(value: Any) -> str:
    """One part of a JWT."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
