"""The issuer's token endpoint: exchange, refresh, revoke.

See docs/reference/sign-in.md#code-exchange, docs/reference/sign-in.md#token-refresh and
docs/reference/sign-in.md#revocation.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import requests

from codexproxy.errors import AuthenticationFailed, InvalidRequest, UpstreamFailed
from codexproxy.login.tokens.tokens import Grant, fits_a_header
from codexproxy.outbound import Fetched, Limits, fetch
from codexproxy.outbound import new_session as new_session
from codexproxy.protocol.numbers import finite

ISSUER = "https://auth.openai.com"
CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann"
SCOPE = "openid profile email offline_access"

# A token answer is some 5 KB. The time is for all of it: whoever waits for a renewal holds the host's lock.
LIMITS = Limits(seconds=60.0, size=256 * 1024)
REVOKE_SECONDS = 10.0

# What is said of a refresh token that will never work again. Everything that is
# neither here nor a 401 is a passing failure (docs/reference/sign-in.md#token-refresh).
TERMINAL = {
    "refresh_token_expired": "it has expired",
    "refresh_token_reused": "it was already used",
    "refresh_token_invalidated": "it was revoked",
    "invalid_grant": "it is not accepted any more",
}
UNKNOWN = "refresh_refused"

_LONGEST_QUOTE = 300
# Seconds; an access token that is said to live longer is said nothing of.
_LONGEST_LIFE = 10**9


class RefreshRefused(AuthenticationFailed):
    """The issuer will never take this refresh token again; ``code`` says why."""

    code = UNKNOWN


class RefreshFailed(UpstreamFailed):
    """The refresh did not happen; the pair may well be good."""

    code = "refresh_failed"


class ExchangeFailed(InvalidRequest):
    """The issuer did not take the authorization code."""

    code = "login_failed"


class OAuthClient:
    """Talks to the issuer.

    Args:
        session: Carries the requests; one per worker, made after its fork.
        issuer: Base URL.
        client_id: Ours.
        originator: Value of the ``originator`` header.
        user_agent: Value of the ``user-agent`` header.
        limits: What each request may take.
    """

    def __init__(
        self,
        session: requests.Session,
        *,
        issuer: str = ISSUER,
        client_id: str = CLIENT_ID,
        originator: str = "codex_cli_rs",
        user_agent: str = "codexproxy",
        limits: Limits = LIMITS,
    ) -> None:
        self.issuer = issuer.rstrip("/")
        self.client_id = client_id
        self._session = session
        self._headers = {"originator": originator, "user-agent": user_agent, "accept": "*/*"}
        self._limits = limits

    def exchange(self, code: str, verifier: str, redirect_uri: str) -> Grant:
        """Turns an authorization code into the first pair.

        Args:
            code: From the callback.
            verifier: The PKCE verifier of the attempt.
            redirect_uri: Exactly what was sent to the authorize page.

        Raises:
            ExchangeFailed: The issuer refused, or its answer lacks a token.
            UpstreamFailed: The issuer could not be reached.
        """
        form = {
            "grant_type": "authorization_code",
            "client_id": self.client_id,
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        response = self.post("/oauth/token", data=form)
        if not succeeded(response):
            raise exchange_failed(response, secrets=(code, verifier))
        grant = _grant(response)
        if not (grant.access_token and grant.refresh_token and grant.id_token):
            raise ExchangeFailed("The login service's answer lacks a token. Please log in again.")
        return grant

    def refresh(self, refresh_token: str, reason: str) -> Grant:
        """Spends a refresh token; the answer's fields may each be missing.

        Args:
            refresh_token: Works once.
            reason: ``proactive_expiry``, ``scheduled``, ``unauthorized_recovery`` or ``forced``.

        Raises:
            RefreshRefused: This refresh token is dead.
            RefreshFailed: The refresh did not happen.
        """
        body = {
            "client_id": self.client_id,
            "grant_type": "refresh_token",
            "refresh_reason": reason,
            "refresh_token": refresh_token,
        }
        try:
            response = self.post("/oauth/token", json=body)
            if succeeded(response):
                return _grant(response)
        except UpstreamFailed as error:
            raise RefreshFailed(error.message) from None
        raise refresh_refusal(response.status_code, error_of(response).code)

    def revoke(self, refresh_token: str, access_token: str, seconds: float = REVOKE_SECONDS) -> None:
        """Tells the issuer to forget the pair.

        Raises:
            UpstreamFailed: It did not.
        """
        if refresh_token:
            body = {"token": refresh_token, "token_type_hint": "refresh_token", "client_id": self.client_id}
        else:
            body = {"token": access_token, "token_type_hint": "access_token"}
        response = self.post("/oauth/revoke", json=body, seconds=seconds)
        if not succeeded(response):
            raise UpstreamFailed(f"The login service answered {response.status_code} to the revocation.")

    def post(self, path: str, *, seconds: float | None = None, **body: Any) -> Fetched:
        """Posts to the issuer; a redirect is not followed, since the body is secret.

        Args:
            path: Where to, below the issuer.
            seconds: What it may take, where that is less than usual.
            body: ``json`` or ``data``.

        Raises:
            UpstreamFailed: No complete answer came.
        """
        try:
            return fetch(
                self._session,
                "POST",
                self.issuer + path,
                self._limits if seconds is None else replace(self._limits, seconds=seconds),
                headers=self._headers,
                allow_redirects=False,
                auth=_no_auth,
                **body,
            )
        except requests.RequestException as error:
            # The cause may quote the request; only its kind is told.
            raise UpstreamFailed(
                f"The login service at {self.issuer} could not be reached ({type(error).__name__}). "
                "Check the network and try again."
            ) from None


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # Stands in the way of a .netrc entry that would be added otherwise.
    return request


def succeeded(response: Fetched) -> bool:
    """Whether the status is 2xx; a redirect is no success here."""
    return 200 <= response.status_code < 300


class ErrorBody:
    """An error of the issuer, from either of its two shapes.

    Attributes:
        code: ``error`` as a string, else ``error.code``; empty when neither is there.
        message: ``error_description``, else ``error.message``.
    """

    __slots__ = ("code", "message")

    def __init__(self, body: Any) -> None:
        body = body if isinstance(body, Mapping) else {}
        error = body.get("error")
        nested = error if isinstance(error, Mapping) else {}
        self.code = _first_text(error, nested.get("code"), body.get("code"))
        self.message = _first_text(body.get("error_description"), nested.get("message"), body.get("message"))


def error_of(response: Fetched) -> ErrorBody:
    """The error an answer holds; empty for an answer that is no JSON."""
    return ErrorBody(_json(response))


def refresh_refusal(status: int, code: str) -> RefreshRefused | RefreshFailed:
    """What a refused refresh means (docs/reference/sign-in.md#token-refresh)."""
    if status in (400, 401) and code in TERMINAL:
        return RefreshRefused(f"The login cannot be renewed: {TERMINAL[code]}.", code=code)
    if status == 401:
        return RefreshRefused("The login cannot be renewed: the login service refused it.")
    return RefreshFailed(f"The login service answered {status} to the renewal. It will be tried again.")


def exchange_failed(response: Fetched, secrets: tuple[str, ...] = ()) -> ExchangeFailed:
    """The failure for a refused login, with the issuer's reason when it gave one."""
    error = error_of(response)
    reason = error.message.rstrip(".") or error.code or f"status {response.status_code}"
    for secret in filter(None, secrets):
        reason = reason.replace(secret, "…")
    return ExchangeFailed(f"The login service refused the login: {reason[:_LONGEST_QUOTE]}. Please log in again.")


def json_object(response: Fetched) -> dict[str, Any]:
    """The JSON object of an answer.

    Raises:
        UpstreamFailed: It holds none.
    """
    body = _json(response)
    if not isinstance(body, dict):
        raise UpstreamFailed("The login service's answer is not a JSON object. Please try again.")
    return body


def _grant(response: Fetched) -> Grant:
    body = json_object(response)
    texts = {name: _first_text(body.get(name)) for name in ("access_token", "refresh_token", "id_token")}
    if not fits_a_header(texts["access_token"]):
        # With the rest the login stays one: the old refresh token may be spent.
        texts["access_token"] = ""
    return Grant(**texts, expires_in=_seconds(body.get("expires_in")))


def _json(response: Fetched) -> Any:
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None


def _seconds(value: Any) -> float | None:
    seconds = finite(value, 0.0, _LONGEST_LIFE)
    return seconds if seconds and seconds < _LONGEST_LIFE else None


def _first_text(*values: Any) -> str:
    return next((value for value in values if isinstance(value, str) and value), "")
