"""The logins: one per profile, each in a folder of its own."""

import logging
import os
import re
from collections.abc import Callable, Iterable

from codexproxy.app.metered_refresher import CountedRefresher
from codexproxy.data_dir import DEFAULT_PROFILE, DataDir
from codexproxy.errors import ProxyError
from codexproxy.login.account import Login as Login
from codexproxy.login.account import login_command
from codexproxy.login.background_refresh import BackgroundRefresh
from codexproxy.login.credentials import Credentials
from codexproxy.login.oauth.browser_flow import LoginFlow
from codexproxy.login.oauth.callback_endpoint import Landing
from codexproxy.login.oauth.client import OAuthClient, new_session
from codexproxy.login.oauth.device_flow import DeviceLogin
from codexproxy.login.oauth.login_method import BROWSER, choose_way, in_container
from codexproxy.login.oauth.pending_logins import Attempts
from codexproxy.login.tokens.env_import import SeedWarning, seed
from codexproxy.login.tokens.external_store import LinkedTokenStore
from codexproxy.server.login.refresh_supervisor import LoginWatch
from codexproxy.settings import Settings
from codexproxy.storage.files.locks import Leadership
from codexproxy.upstream.chatgpt.headers import ClientIdentity

log = logging.getLogger(__name__)

# A profile's name is a folder's name as well.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


def is_profile_name(name: str) -> bool:
    """Whether a profile can be called so."""
    return _NAME.fullmatch(name) is not None


def make_identity(settings: Settings) -> ClientIdentity:
    """Who we say we are upstream."""
    return ClientIdentity(settings.originator, settings.client_version)


def make_landing(settings: Settings) -> Landing:
    """Where the browser comes back to."""
    return Landing.of(settings.callback_host, settings.callback_port, settings.oauth_redirect_uri)


def make_login(
    settings: Settings, profile: str = DEFAULT_PROFILE, refreshed: Callable[[bool], None] | None = None
) -> Login:
    """The login of a profile.

    Args:
        settings: What the user decided.
        profile: Its name; the default one lives in the data folder itself.
        refreshed: Told of every renewal, whether it succeeded.
    """
    files = DataDir(settings.data_dir).profile(profile)
    offered = settings.tokens_json or "" if profile == DEFAULT_PROFILE else ""
    identity = make_identity(settings)
    store = LinkedTokenStore.in_folder(files.root)
    oauth = OAuthClient(
        new_session(),
        issuer=settings.oauth_issuer,
        client_id=settings.oauth_client_id,
        originator=identity.originator,
        user_agent=identity.user_agent,
    )
    attempts = Attempts(files.pending_logins)
    flow = LoginFlow(
        oauth,
        attempts,
        keep=store.replace,
        redirect_uri=settings.oauth_redirect_uri,
        scope=settings.oauth_scope,
        originator=identity.originator,
        timeout=settings.login_timeout_seconds,
    )
    return Login(
        profile=profile,
        store=store,
        oauth=oauth,
        credentials=Credentials(
            store,
            CountedRefresher(oauth, refreshed) if refreshed else oauth,
            command=login_command(profile),
            renewed=SeedWarning(offered),
        ),
        attempts=attempts,
        flow=flow,
        device=DeviceLogin(oauth),
        seed=offered,
    )


def seed_login(login: Login) -> None:
    """Takes the login of ``CODEX_TOKENS_JSON`` into an empty data folder.

    A service that cannot do so says why and starts all the same: it answers 401 until somebody logs in.
    """
    try:
        seed(login.store, login.seed)
    except (ProxyError, OSError) as failure:
        log.error("The login of CODEX_TOKENS_JSON was not taken: %s", failure)


def make_watch(settings: Settings, logins: Iterable[Login]) -> LoginWatch:
    """Renews the logins ahead of time while a worker lives."""
    return LoginWatch(
        [
            (
                login.credentials,
                BackgroundRefresh(
                    login.credentials,
                    Leadership(DataDir(settings.data_dir).profile(login.profile).refresh_leader),
                ),
            )
            for login in logins
        ]
    )


def has_browser() -> bool:
    """Whether a browser opened on this machine reaches this machine's ports, and a person sees it."""
    return choose_way(os.environ, container=in_container()).way == BROWSER
