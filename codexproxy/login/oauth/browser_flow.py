"""Logging in by browser: begin, be called back, exchange, keep.

See docs/reference/sign-in.md#browser-login and docs/reference/sign-in.md#code-exchange.
"""

import logging
import secrets
import time
from collections.abc import Callable
from urllib.parse import urlencode

from codexproxy.errors import InvalidRequest, ProxyError
from codexproxy.login.oauth.callback import Callback
from codexproxy.login.oauth.client import SCOPE, ExchangeFailed, OAuthClient
from codexproxy.login.oauth.pending_logins import Attempt, Attempts, digest_of
from codexproxy.login.oauth.pkce import RandomBytes, new_pkce, new_state
from codexproxy.login.tokens.jwt import read_claims
from codexproxy.login.tokens.tokens import Grant, Tokens

log = logging.getLogger(__name__)

REDIRECT_URI = "http://localhost:1455/auth/callback"
TIMEOUT = 300.0
SHORTEST_TIMEOUT = 60.0

_NOT_ENTITLED = "missing_codex_entitlement"
_LONGEST_QUOTE = 300


class StateMismatch(InvalidRequest):
    """The callback belongs to no pending login; the pending ones go on."""

    code = "state_mismatch"


class LoginDenied(InvalidRequest):
    """The issuer sent the browser back with an error; ``code`` is the issuer's."""

    code = "access_denied"


class CodeMissing(InvalidRequest):
    """The callback holds neither a code nor an error."""

    code = "missing_authorization_code"


class LoginFlow:
    """Browser logins of one service.

    Args:
        oauth: The issuer.
        attempts: The pending logins.
        keep: Stores the new login, in place of the one before.
        redirect_uri: Where the issuer sends the browser.
        scope: What is asked for.
        originator: Who asks.
        timeout: Seconds an attempt lives; at least 60.
        clock: Epoch seconds.
        random_bytes: Where verifiers and states come from.
    """

    def __init__(
        self,
        oauth: OAuthClient,
        attempts: Attempts,
        keep: Callable[[Tokens], None],
        *,
        redirect_uri: str = REDIRECT_URI,
        scope: str = SCOPE,
        originator: str = "codex_cli_rs",
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.time,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._oauth = oauth
        self._attempts = attempts
        self._keep = keep
        self._redirect_uri = redirect_uri
        self._scope = scope
        self._originator = originator
        self._timeout = max(timeout, SHORTEST_TIMEOUT)
        self._clock = clock
        self._random_bytes = random_bytes

    def begin(self, redirect_uri: str | None = None) -> Attempt:
        """Begins a login.

        Args:
            redirect_uri: Where the callback app really listens, when not at the usual place.

        Raises:
            DatabaseFailed: The attempt could not be remembered.
        """
        redirect_uri = redirect_uri or self._redirect_uri
        pkce, state = new_pkce(self._random_bytes), new_state(self._random_bytes)
        url = authorize_url(
            self._oauth.issuer,
            self._oauth.client_id,
            redirect_uri,
            pkce.challenge,
            state,
            self._scope,
            self._originator,
        )
        expires_at = int((self._clock() + self._timeout) * 1000)
        attempt = Attempt(state, pkce.verifier, redirect_uri, url, expires_at)
        self._attempts.add(attempt)
        return attempt

    def is_pending(self, state: str | None, digest: str | None) -> bool:
        """Whether a login waits here that somebody knows by its state, or by the digest it is filed under."""
        known = digest_of(state) if state is not None else digest
        try:
            return known is not None and self._attempts.is_pending(known)
        except ProxyError as failure:
            log.warning("Cannot tell whether a login is waiting: %s", failure)
            return False

    def newest_pending(self) -> str | None:
        """The digest of the newest login that waits; None when none does, or nobody can tell."""
        try:
            return self._attempts.newest()
        except ProxyError as failure:
            log.warning("Cannot tell which login is waiting: %s", failure)
            return None

    def receive(self, callback: Callback) -> Tokens:
        """Finishes a login with what came back.

        The state is looked at first, whatever else is there; a wrong one ends no attempt. Neither does
        a bare code that the issuer does not take: it was pasted, and may not have been copied whole.

        Raises:
            StateMismatch: No pending login has this state.
            LoginDenied: The issuer said no.
            CodeMissing: There is no code.
            ExchangeFailed, BrokenToken: The issuer did not take the code, or gave no usable pair for it.
            UpstreamFailed: The issuer could not be reached.
            StorageFailed: The new login could not be written.
        """
        attempt = self._attempts.claim(callback.state)
        if attempt is None:
            raise StateMismatch(
                "State mismatch: this sign-in belongs to no login that is waiting. It may have run out of time "
                "or been used already. Start a new login and use the address it shows."
            )
        if callback.error:
            raise denied(callback)
        if not callback.code:
            raise CodeMissing("The login service sent no authorization code. Please start a new login.")
        try:
            grant = self._oauth.exchange(callback.code, attempt.verifier, attempt.redirect_uri)
        except ExchangeFailed:
            if callback.state is None:
                self._attempts.add(attempt)
            raise
        return self.finish(grant)

    def accept(self, state: str | None, code: str) -> Tokens:
        """As ``receive``, for a code that was handed over by itself."""
        return self.receive(Callback(code=code, state=state))

    def finish(self, grant: Grant) -> Tokens:
        """Keeps the pair of a finished login.

        Raises:
            BrokenToken: The id token cannot be read.
            StorageFailed: It could not be written.
        """
        read_claims(grant.id_token)
        tokens = Tokens.granted(grant, int(self._clock() * 1000))
        self._keep(tokens)
        log.info("Logged in (plan %s).", tokens.identity.plan or "unknown")
        return tokens


def authorize_url(
    issuer: str, client_id: str, redirect_uri: str, challenge: str, state: str, scope: str, originator: str
) -> str:
    """The address of the authorize page; parameters and their order as the real client's.

    See docs/reference/sign-in.md#browser-login.
    """
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "state": state,
        "scope": scope,
        "id_token_add_organizations": "true",
        "codex_cli_simplified_flow": "true",
        "originator": originator,
    }
    return f"{issuer}/oauth/authorize?{urlencode(query)}"


def denied(callback: Callback) -> LoginDenied:
    """The failure for an error that came back, in words a person can act on."""
    if callback.error == "access_denied" and _NOT_ENTITLED in callback.description:
        return LoginDenied(
            "Codex is not enabled for your workspace. Ask its administrator for access, or sign in to another one.",
            code=_NOT_ENTITLED,
        )
    reason = (callback.description or callback.error)[:_LONGEST_QUOTE].rstrip(".")
    return LoginDenied(f"Sign-in failed: {reason}. Start a new login to try again.", code=callback.error[:64])
