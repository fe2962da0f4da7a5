"""The composition root: the only place where the parts meet."""

import os
from collections.abc import Callable, Mapping

from flask import Flask

from codexproxy.auth.credentials import Credentials
from codexproxy.auth.oauth import OAuthClient, new_session
from codexproxy.auth.store import FileTokenStore
from codexproxy.backends.catalogue import LiveCatalogue
from codexproxy.backends.chatgpt.client import ChatGptBackend
from codexproxy.backends.chatgpt.headers import ClientIdentity
from codexproxy.backends.chatgpt.transport import Transport
from codexproxy.backends.provider import Provider
from codexproxy.backends.router import Router
from codexproxy.dialects.chat.dialect import ChatDialect
from codexproxy.dialects.responses import ResponsesDialect
from codexproxy.errors import ProxyError
from codexproxy.guard.keys import KeyRing
from codexproxy.guard.official import OfficialTexts
from codexproxy.guard.origin import OriginPolicy
from codexproxy.instructions import load_family_prompts
from codexproxy.observe.log import configure_logging
from codexproxy.settings import Settings
from codexproxy.state.conversations import Conversations
from codexproxy.turns.deadlines import TimeLimits
from codexproxy.turns.policy import Policy
from codexproxy.web import failures, hooks, routes
from codexproxy.web.paths import CanonicalPaths
from codexproxy.web.readiness import wait_readable
from codexproxy.web.wiring import Wiring


def create_app(settings: Settings, environ: Mapping[str, str] = os.environ) -> Flask:
    """The service as a WSGI application; made once per worker, after the fork.

    Args:
        settings: What the user decided.
        environ: Where proxy settings of the network are looked up.
    """
    configure_logging(settings.log_level, settings.log_format, directory=settings.log_dir, secrets=_secrets(settings))
    credentials = make_credentials(settings)
    backend = make_backend(settings, credentials, environ)
    catalogue = LiveCatalogue(
        backend.models, aliases=settings.model_aliases, refresh_seconds=settings.models_refresh_seconds
    )
    wiring = Wiring(
        dialects={"/chat/completions": ChatDialect(settings.reasoning_compat), "/responses": ResponsesDialect()},
        router=Router([Provider(backend)]),
        catalogue=catalogue,
        policy=make_policy(settings),
        keys=KeyRing(
            api_key=settings.api_key, users=settings.users, allow_unauthenticated=settings.allow_unauthenticated
        ),
        origins=OriginPolicy(settings.allow_unauthenticated, settings.cors_allow_origins),
        official=OfficialTexts(),
        ready=_readiness(credentials),
        max_body_bytes=settings.max_body_bytes,
        heartbeat_seconds=settings.heartbeat_seconds,
        reverse_names=settings.reverse_names,
    )
    return assemble(wiring)


def assemble(wiring: Wiring) -> Flask:
    """The application around its parts."""
    app = Flask("codexproxy", static_folder=None)
    app.url_map.strict_slashes = False
    hooks.register(app, wiring)
    failures.register(app)
    for blueprint in (routes.turn_routes, routes.model_routes, routes.status_routes):
        app.register_blueprint(blueprint(wiring))
    app.wsgi_app = CanonicalPaths(app.wsgi_app)  # type: ignore[method-assign]
    return app


def make_credentials(settings: Settings) -> Credentials:
    """The login of the default profile."""
    identity = make_identity(settings)
    oauth = OAuthClient(
        new_session(),
        issuer=settings.oauth_issuer,
        client_id=settings.oauth_client_id,
        originator=identity.originator,
        user_agent=identity.user_agent,
    )
    return Credentials(FileTokenStore(settings.data_dir / "tokens.json"), oauth)


def make_identity(settings: Settings) -> ClientIdentity:
    """Who we say we are upstream."""
    return ClientIdentity(settings.originator, settings.client_version)


def make_backend(settings: Settings, credentials: Credentials, environ: Mapping[str, str]) -> ChatGptBackend:
    """The Codex backend over HTTP."""
    return ChatGptBackend(
        "default",
        settings.backend_url,
        Transport(settings.backend_url, environ),
        credentials,
        identity=make_identity(settings),
        limits=TimeLimits(
            settings.connect_timeout, settings.first_event_timeout, settings.idle_timeout, settings.turn_timeout
        ),
        wait=wait_readable,
        patience=settings.heartbeat_seconds,
    )


def make_policy(settings: Settings) -> Policy:
    """What the owner decided for all turns."""
    return Policy(
        mode=settings.codex_mode,
        effort=settings.reasoning_effort,
        verbosity=settings.text_verbosity,
        summary=settings.reasoning_summary,
        default_model=settings.default_model,
        strict=settings.models_strict,
        prompts=family_prompts(load_family_prompts()),
        conversation=Conversations(settings.data_dir / "conversations.sqlite3").id_of,
    )


def family_prompts(texts: Mapping[str, str]) -> Callable[[str], str]:
    """A model's slug -> its family's text; models newer than the texts get the newest of their kind."""
    families = sorted(texts, reverse=True)
    codex = next((name for name in families if name.endswith("-codex")), families[0])
    plain = next((name for name in families if "codex" not in name), families[0])

    def text_for(slug: str) -> str:
        return texts.get(slug) or texts[codex if "codex" in slug else plain]

    return text_for


def _secrets(settings: Settings) -> list[str]:
    return [settings.api_key] if settings.api_key else []


def _readiness(credentials: Credentials) -> Callable[[], list[str]]:
    def reasons() -> list[str]:
        try:
            credentials.current()
        except ProxyError as error:
            return [error.message]
        return []

    return reasons
