"""The access that upstream requests carry, kept fresh without spending a refresh token twice.

A refresh runs once per process (``flight``) and once per host (the store's
lock). Inside the lock the login is read again: losing the race is the normal
case, and the loser adopts what the winner wrote.
"""

import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress

from codexproxy.errors import LoginExpired, NotLoggedIn, ProxyError, UpstreamTimeout
from codexproxy.login.backoff import Pause
from codexproxy.login.oauth.client import RefreshFailed
from codexproxy.login.singleflight import SingleFlight
from codexproxy.login.token_cache import HeldLogin
from codexproxy.login.token_refresher import COMMAND, PROACTIVE, UNAUTHORIZED, Refresher, Renewal, not_logged_in
from codexproxy.login.tokens.emergency_store import Refuge
from codexproxy.login.tokens.file_store import StorageFailed, TokenStore, storage_failed
from codexproxy.login.tokens.tokens import Tokens
from codexproxy.protocol.request import Credential
from codexproxy.storage.files.locks import LockTimeout

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
LOCK_TIMEOUT = 60.0
# How long a request waits for a refresh while its old token still works.
COURTESY = 5.0
# Longer than a flight can take: the lock, the issuer's time limits, the re-reads.
LONGEST_FLIGHT = 120.0


class Credentials:
    """The ``CredentialSource`` of one login.

    Args:
        store: Where the login is kept.
        oauth: Who renews it.
        clock: Epoch seconds.
        sleep: Waits that many seconds.
        chance: Random numbers from [0, 1).
        look_every: Seconds between looks at whether another process changed the login.
        lock_timeout: Seconds to wait for another process's refresh once the token has ended.
        command: What to run to log in, for messages.
        renewed: Told of each new pair.
        refuge: Where a renewed pair waits that the store does not take.
    """

    def __init__(
        self,
        store: TokenStore,
        oauth: Refresher,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] | None = None,
        chance: Callable[[], float] = random.random,
        look_every: float = LOOK_EVERY,
        lock_timeout: float = LOCK_TIMEOUT,
        command: str = COMMAND,
        renewed: Callable[[Tokens], None] = lambda tokens: None,
        refuge: Refuge | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._lock_timeout = lock_timeout
        self._command = command
        self._login = HeldLogin(store, int(look_every * 1000), refuge or Refuge())
        self._failures = Pause(1_000, 15_000, chance)
        self._recoveries = Pause(2_000, 60_000, chance)
        self._flights: SingleFlight[Tokens] = SingleFlight()
        self._renewal = Renewal(self._login, oauth, self._now, sleep, command, renewed)

    def current(self) -> Credential:
        """Access that upstream should accept now; see ``CredentialSource``."""
        now = self._now()
        tokens = self._login.look(now)
        if tokens is not None and now < tokens.due_at:
            return tokens.access
        return self._fit(tokens, now).access

    def recover(self, rejected: str) -> Credential:
        """Access to try instead of a token upstream answered with 401; see ``CredentialSource``."""
        now = self._now()
        tokens = self._login.read()
        if tokens is None or tokens.access_token != rejected:
            return self._fit(tokens, now).access
        if not tokens.due(now) and self._recoveries.remaining(now):
            raise LoginExpired(
                "Upstream refuses the login although it was just renewed. "
                f"If this does not pass within a minute, run `{self._command}`."
            )
        fresh = self._renew(tokens, UNAUTHORIZED)
        if fresh.access_token == rejected:
            raise self._renewal.expired("upstream refuses it and there is no other")
        self._recoveries.lengthen(now)
        return fresh.access

    def refresh(self, reason: str) -> Credential:
        """Renews the login now, unless another process is doing or has just done so.

        Args:
            reason: ``scheduled`` or ``forced`` (docs/reference/sign-in.md#token-refresh).

        Raises:
            ProxyError: It was not renewed; the old access token may still work.
        """
        tokens = self._login.read()
        if tokens is None:
            raise not_logged_in(self._command)
        return self._renew(tokens, reason).access

    def peek(self) -> Tokens | None:
        """The login as it is known, without renewing it; for schedules and status."""
        return self._login.look(self._now())

    def latest(self) -> Tokens | None:
        """As ``peek``, but certainly what is stored at this moment.

        Raises:
            BrokenLogin, StorageFailed: It cannot be read, and nothing is known from before.
        """
        return self._login.read()

    def reserve(self) -> None:
        """Makes room for the next pair while the disk has some; what it says otherwise is told at the renewal."""
        if self._store.refreshes:
            with suppress(StorageFailed):
                self._login.reserve()

    def settle(self, timeout: float) -> bool:
        """Waits for a refresh under way and writes its outcome, before the process ends; whether none is left."""
        settled = self._flights.settle(timeout)
        self._login.flush()
        return settled

    def _fit(self, tokens: Tokens | None, now: int) -> Tokens:
        """The tokens renewed if need be; the old ones when that fails and they still work."""
        if tokens is None:
            raise not_logged_in(self._command)
        if not tokens.due(now):
            return tokens
        if not tokens.usable(now):
            return self._renew(tokens, PROACTIVE)
        if self._renewal.hopeless(tokens, now) or self._failures.remaining(now):
            return tokens
        try:
            return self._renew(tokens, PROACTIVE, usable=True)
        except NotLoggedIn:
            raise
        except ProxyError:
            return tokens  # the failure has been logged where it happened

    def _renew(self, tokens: Tokens, reason: str, *, usable: bool = False) -> Tokens:
        now = self._now()
        if not self._store.refreshes:
            return self._renewed_by_its_owner(tokens)
        if self._renewal.hopeless(tokens, now):
            raise self._renewal.expired_for(tokens)
        if not usable and self._failures.remaining(now):
            raise RefreshFailed(
                "The login service could not be reached a moment ago. Please try again.",
                retry_after=self._failures.remaining(now) / 1000,
            )
        flight, ours = self._flights.join(lambda: self._locked(tokens, reason, usable))
        if usable and not ours:
            return tokens
        if not flight.wait(COURTESY if usable else LONGEST_FLIGHT):
            raise UpstreamTimeout("The login service takes too long to renew the login. Please try again.")
        return flight.result()

    def _renewed_by_its_owner(self, tokens: Tokens) -> Tokens:
        latest = self._login.read()
        if latest is not None and latest.access_token != tokens.access_token and latest.usable(self._now()):
            return latest
        raise self._renewal.expired(
            f"{self._store.name} is only read here, and its own program has not renewed it. "
            "Run that program once (`codex`), or make a login of your own"
        )

    def _locked(self, tokens: Tokens, reason: str, usable: bool) -> Tokens:
        # With a token that still works nobody queues for another process's refresh.
        try:
            with self._store.lock(0 if usable else self._lock_timeout):
                fresh = self._renewal.run(tokens, reason)
        except LockTimeout:
            raise UpstreamTimeout("Another process takes too long to renew the login. Please try again.") from None
        except OSError as error:
            raise storage_failed("locked", self._store.name, error) from error
        except RefreshFailed as failure:
            self._failures.lengthen(self._now())
            log.warning("%s", failure)
            raise
        except StorageFailed:  # logged where it happened
            self._failures.lengthen(self._now())
            raise
        self._failures.reset()
        return fresh

    def _now(self) -> int:
        return int(self._clock() * 1000)
