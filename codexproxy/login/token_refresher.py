"""One renewal of the login, from inside its lock."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from codexproxy.errors import LoginExpired, NotLoggedIn
from codexproxy.login.oauth.client import TERMINAL, RefreshFailed, RefreshRefused
from codexproxy.login.token_cache import HeldLogin
from codexproxy.login.tokens.file_store import StorageFailed
from codexproxy.login.tokens.tokens import Grant, Tokens

log = logging.getLogger(__name__)

COMMAND = "codexproxy login"

# Why a login is renewed: soon it will be due, or upstream refused it.
PROACTIVE = "proactive_expiry"
UNAUTHORIZED = "unauthorized_recovery"

# A program that does not know our lock may have spent the token a moment before
# us; its new pair then shows up within these seconds.
REREADS = (0.0, 0.25, 1.0)

# The verdict on a refresh token is asked for again after this many milliseconds,
# so that a wrong one does not outlive its cause.
VERDICT_LASTS = 3_600_000

_REASONS = {
    **TERMINAL,
    "no_refresh_token": "there is no refresh token",
    "account_changed": "the login service answered with another account",
}


class Refresher(Protocol):
    """Who turns a refresh token into a new pair: ``OAuthClient``."""

    def refresh(self, refresh_token: str, reason: str) -> Grant:
        """See ``OAuthClient.refresh``."""


class Renewal:
    """Adopts what another process wrote, or spends the refresh token.

    Args:
        login: What is known of the login, and where it is kept.
        oauth: Who renews it.
        now: Epoch milliseconds.
        sleep: Waits that many seconds.
        command: What to run to log in, for messages.
        renewed: Told of each new pair.
    """

    def __init__(
        self,
        login: HeldLogin,
        oauth: Refresher,
        now: Callable[[], int],
        sleep: Callable[[float], None] | None,
        command: str,
        renewed: Callable[[Tokens], None],
    ) -> None:
        self._login = login
        self._oauth = oauth
        self._now = now
        self._sleep = sleep
        self._command = command
        self._renewed = renewed

    def run(self, stale: Tokens, reason: str) -> Tokens:
        """Tokens newer than ``stale``; the caller holds the store's lock.

        Raises:
            NotLoggedIn: Somebody logged out.
            LoginExpired: The refresh token is dead.
            RefreshFailed: The refresh did not happen.
        """
        latest = self._login.read()
        if latest is None:
            raise not_logged_in(self._command)
        if latest.access_token != stale.access_token and not latest.due(self._now()):
            log.info("Adopted the login that another process renewed.")
            return latest
        if self.hopeless(latest, self._now()):
            raise self.expired_for(latest)
        return self._spend(latest, reason)

    def hopeless(self, tokens: Tokens, now: int) -> bool:
        """Whether the issuer has recently said that this refresh token is dead."""
        return bool(tokens.refresh_error) and 0 <= now - tokens.refresh_error_at < VERDICT_LASTS

    def expired_for(self, tokens: Tokens) -> LoginExpired:
        """The error for a login whose refresh token is dead."""
        return self.expired(_REASONS.get(tokens.refresh_error, "the login service refused to renew it"))

    def expired(self, reason: str) -> LoginExpired:
        """The error for a login that has ended, naming the command that helps."""
        return LoginExpired(f"The login has ended: {reason}. Run `{self._command}` to sign in again.")

    def _spend(self, latest: Tokens, reason: str) -> Tokens:
        if not latest.refresh_token:
            raise self._bury(latest, "no_refresh_token")
        self._make_room(latest, reason)
        try:
            grant = self._oauth.refresh(latest.refresh_token, reason)
        except RefreshRefused as refusal:
            return self._reconsider(latest, refusal.code or "")
        return self._accept(latest, grant, reason)

    def _make_room(self, latest: Tokens, reason: str) -> None:
        """Before the token is spent there has to be room for its successor, unless nobody can wait for that."""
        try:
            self._login.reserve()
        except StorageFailed as failure:
            if reason != UNAUTHORIZED and latest.usable(self._now()):
                log.warning("%s The login is renewed once there is, or when it ends.", failure)
                raise
            log.warning("%s The login is renewed all the same, since it has ended.", failure)

    def _reconsider(self, latest: Tokens, code: str) -> Tokens:
        for delay in REREADS:
            (self._sleep or time.sleep)(delay)
            stored = self._login.read()
            if stored is None:
                raise not_logged_in(self._command)
            if stored.refresh_token == latest.refresh_token:
                continue
            return self._give_way(stored)
        raise self._bury(latest, code)

    def _give_way(self, stored: Tokens) -> Tokens:
        if stored.due(self._now()):
            raise RefreshFailed("The login was changed while it was renewed. Please try again.")
        log.info("Adopted the login that another program put in its place.")
        return stored

    def _accept(self, latest: Tokens, grant: Grant, reason: str) -> Tokens:
        now = self._now()
        fresh = latest.renewed(grant, now)
        stored = self._login.read()
        if stored is not None and _is_newer_login(stored, latest):
            return self._give_way(stored)
        if fresh.account_differs(latest):
            raise self._bury(latest, "account_changed")
        # Kept first and judged second: the old refresh token is spent either way.
        self._login.keep(fresh)
        if fresh.due(now):
            raise RefreshFailed(
                "The login service answered with a token that has already ended. Please check this host's clock."
            )
        log.info("Renewed the login (%s); it lasts %d s.", reason, (fresh.ends_at - now) // 1000)
        self._renewed(fresh)
        return fresh

    def _bury(self, latest: Tokens, code: str) -> LoginExpired:
        known = latest.refresh_error == code
        buried = latest.buried(code, self._now())
        self._login.keep(buried)
        failure = self.expired_for(buried)
        if not known:
            log.error("%s Its access token is used for as long as it lasts.", failure)
        return failure


def _is_newer_login(stored: Tokens, renewed: Tokens) -> bool:
    # A person who copies a file here knows nothing of our lock; only a backup's time tells that it is one.
    return stored.refresh_token != renewed.refresh_token and not 0 < stored.updated_at < renewed.updated_at


def not_logged_in(command: str) -> NotLoggedIn:
    """The error for a host where nobody has logged in."""
    return NotLoggedIn(f"Nobody is logged in. Run `{command}`, then try again.")
