"""The logins: one per profile, each in a folder of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codexproxy.auth.attempts import Attempts
from codexproxy.auth.credentials import Credentials
from codexproxy.auth.device import DeviceLogin
from codexproxy.auth.linked import LinkedTokenStore
from codexproxy.auth.login import LoginFlow
from codexproxy.auth.oauth import OAuthClient, new_session
from codexproxy.auth.seed import VARIABLE, seed
from codexproxy.backends.chatgpt.headers import ClientIdentity
from codexproxy.settings import Settings

DEFAULT_PROFILE = "default"


@dataclass(frozen=True, slots=True)
class Login:
    """Everything there is to one login.

    Attributes:
        profile: Its name.
        store: Where it is kept.
        oauth: Who renews it.
        credentials: What backends ask for access.
        flow: How it is made in a browser.
        device: How it is made with a code.
    """

    profile: str
    store: LinkedTokenStore
    oauth: OAuthClient
    credentials: Credentials
    flow: LoginFlow
    device: DeviceLogin


def profile_folder(data_dir: Path, profile: str) -> Path:
    """Where a profile's login is kept."""
    return data_dir if profile == DEFAULT_PROFILE else data_dir / "profiles" / profile


def make_identity(settings: Settings) -> ClientIdentity:
    """Who we say we are upstream."""
    return ClientIdentity(settings.originator, settings.client_version)


def make_login(settings: Settings, profile: str = DEFAULT_PROFILE) -> Login:
    """The login of a profile.

    Args:
        settings: What the user decided.
        profile: Its name; the default one lives in the data folder itself.
    """
    folder = profile_folder(settings.data_dir, profile)
    identity = make_identity(settings)
    store = LinkedTokenStore.in_folder(folder)
    oauth = OAuthClient(
        new_session(),
        issuer=settings.oauth_issuer,
        client_id=settings.oauth_client_id,
        originator=identity.originator,
        user_agent=identity.user_agent,
    )
    flow = LoginFlow(
        oauth,
        Attempts(folder / "logins.db"),
        keep=store.replace,
        redirect_uri=settings.oauth_redirect_uri,
        scope=settings.oauth_scope,
        originator=identity.originator,
        timeout=settings.login_timeout_seconds,
    )
    return Login(profile, store, oauth, Credentials(store, oauth), flow, DeviceLogin(oauth))


def seed_login(login: Login, environ: Mapping[str, str]) -> None:
    """Takes the login of ``CODEX_TOKENS_JSON`` into an empty data folder.

    Raises:
        ProxyError: The variable holds no login, or the disk would not.
    """
    if login.profile == DEFAULT_PROFILE:
        seed(login.store, environ.get(VARIABLE, ""))
