"""Everything there is to one login, in one hand."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from codexproxy.data_dir import DEFAULT_PROFILE
from codexproxy.errors import ProxyError
from codexproxy.login.credentials import Credentials
from codexproxy.login.logout import LOCK_TIMEOUT, Logout, log_out
from codexproxy.login.oauth.browser_flow import LoginFlow
from codexproxy.login.oauth.client import OAuthClient
from codexproxy.login.oauth.device_flow import DeviceLogin
from codexproxy.login.oauth.pending_logins import Attempts
from codexproxy.login.status import LoginStatus, describe
from codexproxy.login.token_refresher import COMMAND
from codexproxy.login.tokens.env_import import read_seed
from codexproxy.login.tokens.external_store import LinkedTokenStore
from codexproxy.login.tokens.tokens import BrokenLogin, Tokens


@dataclass(frozen=True, slots=True)
class Login:
    """The login of a profile and what makes, keeps and ends it.

    Attributes:
        profile: Its name.
        store: Where it is kept.
        oauth: Who renews it.
        credentials: What backends ask for access.
        attempts: Browser logins that wait.
        flow: How it is made in a browser.
        device: How it is made with a code.
        seed: Content of ``CODEX_TOKENS_JSON`` where it is for this profile, else empty.
    """

    profile: str
    store: LinkedTokenStore
    oauth: OAuthClient
    credentials: Credentials
    attempts: Attempts
    flow: LoginFlow
    device: DeviceLogin
    seed: str = field(default="", repr=False)

    @property
    def command(self) -> str:
        """What to run to log in, for messages."""
        return login_command(self.profile)

    def status(self) -> LoginStatus:
        """The facts of the login as it is stored now; one that cannot be read is none, its reason a warning."""
        return self._describe(self.credentials.latest)

    def glance(self) -> LoginStatus:
        """As ``status``, but up to a second old and cheap enough for every request."""
        return self._describe(self.credentials.peek)

    def _describe(self, look: Callable[[], Tokens | None]) -> LoginStatus:
        now = int(time.time() * 1000)
        try:
            tokens = look()
            return describe(tokens, now, self.store.name, self._offered(beside=tokens))
        except ProxyError as failure:
            return LoginStatus("not_logged_in", False, self.profile, warning=failure.message)

    def _offered(self, beside: Tokens | None) -> Tokens | None:
        try:
            return read_seed(self.seed)
        except BrokenLogin:
            if beside is None:
                raise
            return None  # told when the service started, and not needed

    def end(self) -> Logout:
        """Logs out; a login that another program goes on using is only let go.

        Raises:
            StorageFailed: The login could not be deleted.
            LockTimeout: Somebody kept the login locked.
        """
        done = log_out(self.store, self.oauth, revoke=self.is_own())
        self.credentials.latest()
        return done

    def give_away(self, tell: Callable[[Tokens], object]) -> Tokens | None:
        """Forgets the login without revoking it, once ``tell`` has passed it on; returns it, None without one.

        No renewal can come between the two, so that what was told is what is forgotten.

        Raises:
            BrokenLogin: What is stored is no login.
            StorageFailed: The login could not be deleted.
            LockTimeout: Somebody kept the login locked.
        """
        with self.store.lock(LOCK_TIMEOUT):
            tokens = self.store.load()
            if tokens is not None:
                tell(tokens)
                self.store.delete()
        return tokens

    def is_own(self) -> bool:
        """Whether the login belongs to nobody else."""
        try:
            return self.store.linked() is None
        except ProxyError:  # a broken link leads to no other program's login
            return True


def login_command(profile: str) -> str:
    """What to run to log a profile in."""
    return COMMAND if profile == DEFAULT_PROFILE else f"{COMMAND} --profile {profile}"
