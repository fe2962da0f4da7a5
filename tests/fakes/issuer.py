"""An issuer without HTTP: rotates refresh tokens, and refuses one that comes twice."""

import itertools
import threading
from collections.abc import Callable

from codexproxy.errors import ProxyError
from codexproxy.login.oauth.client import RefreshRefused
from codexproxy.login.tokens.tokens import Grant, Tokens
from tests.fakes.clock import Clock
from tests.fakes.jwt import ACCOUNT, make_jwt

TEN_DAYS = 864_000.0


class FakeClock(Clock):
    """Epoch seconds that pass when the test says so."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        super().__init__(now)

    @property
    def milliseconds(self) -> int:
        return int(self.now * 1000)


class FakeIssuer:
    """Answers ``refresh`` as ``OAuthClient`` does.

    Attributes:
        refreshes: Reasons of the refreshes that were granted.
        asked: How often it was asked at all.
        failures: Raised by the next calls, one each, before anything is spent.
        answers: Given by the next calls instead of a whole grant.
        before: Called during each call, before anything is spent.
    """

    def __init__(self, clock: Callable[[], float], lifetime: float = TEN_DAYS) -> None:
        self.refreshes: list[str] = []
        self.asked = 0
        self.failures: list[ProxyError] = []
        self.answers: list[Grant] = []
        self.before: Callable[[], None] = lambda: None
        self.lifetime = lifetime
        self._clock = clock
        self._serials = itertools.count(1)
        self._live: set[str] = set()
        self._gate = threading.Lock()

    def login(self, account: str = ACCOUNT) -> Tokens:
        """A new login."""
        return Tokens.granted(self._grant(account), int(self._clock() * 1000))

    def refresh(self, refresh_token: str, reason: str) -> Grant:
        self.asked += 1
        self.before()
        if self.failures:
            raise self.failures.pop(0)
        with self._gate:
            if refresh_token not in self._live:
                raise RefreshRefused("used", code="refresh_token_reused")
            self._live.remove(refresh_token)
            self.refreshes.append(reason)
        return self.answers.pop(0) if self.answers else self._grant()

    def _grant(self, account: str = ACCOUNT) -> Grant:
        serial, now = next(self._serials), self._clock()
        refresh_token = f"rt_{serial}"
        self._live.add(refresh_token)
        return Grant(
            access_token=make_jwt(exp=now + self.lifetime, iat=now, account=account, jti=f"a{serial}"),
            refresh_token=refresh_token,
            id_token=make_jwt(exp=now + 3600, iat=now, account=account, email="ann@example.com", plan="plus"),
            expires_in=self.lifetime,
        )
