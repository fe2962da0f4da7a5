"""The composition root: the only place where the parts meet."""

import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from flask import Flask

from codexproxy.access.context import AccessPolicy
from codexproxy.access.key_file import KeyFile
from codexproxy.access.keys import KeyRing
from codexproxy.access.limit_store import storage_uri
from codexproxy.access.origins import OriginPolicy
from codexproxy.access.parallel import ParallelTurns
from codexproxy.access.rate_limits import Limiter, open_storage
from codexproxy.access.slots import Slots
from codexproxy.apis.base import Api
from codexproxy.apis.openai_chat import ChatApi
from codexproxy.apis.openai_completions import CompletionsApi
from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.app.instruction_setup import instruction_notes, own_prompts, preserve
from codexproxy.app.logins import Login, has_browser, make_landing, make_watch, seed_login
from codexproxy.app.metrics_setup import make_metrics, make_observer, make_settlement, make_sweepers, secrets_of
from codexproxy.app.providers import Providers, first_models
from codexproxy.app.quota_setup import make_report
from codexproxy.app.readiness import login_quota, readiness, warnings
from codexproxy.app.storage_setup import make_responses, make_sweeper
from codexproxy.bundled_instructions import load_family_prompts
from codexproxy.data_dir import DataDir
from codexproxy.errors import ProxyError
from codexproxy.gunicorn.fast_writer import SendLimits
from codexproxy.gunicorn.inflight import Underway
from codexproxy.gunicorn.janitor import Sweepers
from codexproxy.observability.log import configure_logging
from codexproxy.observability.metrics import Metrics
from codexproxy.planning.model_catalog import ModelSpec
from codexproxy.planning.official_instructions import InstructionCatalog
from codexproxy.planning.request_builder import Policy
from codexproxy.server import error_handlers, hooks, routes
from codexproxy.server.api_docs import reference_routes
from codexproxy.server.codex_routes import codex_routes
from codexproxy.server.login.auth_routes import auth_routes
from codexproxy.server.login.login_service import LoginDesk
from codexproxy.server.path_aliases import CanonicalPaths
from codexproxy.server.planner import Planner
from codexproxy.server.quota_route import quota_routes
from codexproxy.server.request_body.fairness import let_others_run
from codexproxy.server.services import Services, attach
from codexproxy.server.stored.responses_routes import responses_routes
from codexproxy.settings import Settings, is_loopback_host
from codexproxy.storage.conversations import Conversations
from codexproxy.storage.files.prompts import PromptStore
from codexproxy.storage.sqlite.database import broken_databases
from codexproxy.upstream.image_fetch import ImageFetcher, is_own_address, is_public_address
from codexproxy.upstream.image_inliner import Inliner
from codexproxy.upstream.model_catalog import LiveCatalogue
from codexproxy.upstream.provider import Provider
from codexproxy.upstream.quota_store import QuotaBook
from codexproxy.upstream.router.affinity import HostAffinity
from codexproxy.upstream.router.request_fixer import RequestFixer
from codexproxy.upstream.router.router import Router


def create_app(settings: Settings, environ: Mapping[str, str] = os.environ) -> Flask:
    """The service as a WSGI application; made once per worker, after the fork.

    Args:
        settings: What the user decided.
        environ: Where proxies of the network and keys of relays are looked up.
    """
    configure_logging(
        settings.log_level,
        settings.log_format,
        directory=settings.log_dir,
        keep_days=settings.log_keep_days,
        max_bytes=settings.log_max_bytes,
        bodies=settings.log_requests,
        secrets=secrets_of(settings, environ),
    )
    return assemble(make_services(settings, environ))


def make_services(settings: Settings, environ: Mapping[str, str]) -> Services:
    """The parts, joined."""
    quotas = QuotaBook(DataDir(settings.data_dir).quotas)
    metrics = make_metrics(environ)
    slots = _slots(settings, metrics)
    stand_ins = load_family_prompts()
    store = PromptStore(DataDir(settings.data_dir).prompts)
    library = InstructionCatalog(store, stand_ins)
    made = Providers(
        settings,
        environ,
        quotas,
        slots,
        refreshed=metrics.refreshed,
        skipped=metrics.event_skipped,
        is_own=own_prompts(library),
    )
    providers = made.all()
    login = made.login("default")
    seed_login(login)
    for one in made.logins.values():
        one.credentials.reserve()
    catalogue = LiveCatalogue(
        preserve(first_models(providers), store),
        aliases=settings.model_aliases,
        refresh_seconds=settings.models_refresh_seconds,
    )
    router = make_router(settings, providers, make_fixer(library, catalogue), quotas)
    access = replace(make_access(settings, library, quotas, providers), refresh=catalogue.current)
    responses = make_responses(settings)
    return Services(
        apis=make_apis(settings),
        router=router,
        planner=Planner(
            catalogue, make_policy(settings, library, stand_ins), router, _inliner(settings), let_others_run
        ),
        access=access,
        pause=let_others_run,
        keys=make_keys(settings),
        origins=OriginPolicy(settings.allow_unauthenticated, settings.cors_allow_origins),
        ready=readiness(made.logins, providers),
        notes=lambda: warnings(made.logins) + instruction_notes(library) + broken_databases(),
        desk=_make_login_service(settings, login, lambda: login_quota(login, providers, quotas)),
        watch=make_watch(settings, made.logins.values()),
        responses=responses,
        max_body_bytes=settings.max_body_bytes,
        heartbeat_seconds=settings.heartbeat_seconds,
        inflight=Underway(settings.turn_timeout),
        reverse_names=settings.reverse_names,
        quota=make_report(settings, providers, quotas),
        observer=make_observer(settings, metrics, quotas, providers, slots),
        send_limits=SendLimits(settings.send_timeout_seconds, settings.turn_timeout or math.inf),
        sweepers=Sweepers(
            make_settlement(settings, metrics, access.limiter),
            make_sweeper(settings, responses),
            *make_sweepers(environ),
        ),
    )


def make_apis(settings: Settings) -> dict[str, Api]:
    """Route -> API format."""
    return {
        "/chat/completions": ChatApi(settings.reasoning_compat, pause=let_others_run),
        "/responses": ResponsesApi(let_others_run),
        "/completions": CompletionsApi(),
    }


def _make_login_service(settings: Settings, login: Login, quota: Callable[[], list[dict[str, Any]]]) -> LoginDesk:
    return LoginDesk(
        login, make_landing(settings), settings.login_timeout_seconds, has_browser=has_browser, quota=quota
    )


def assemble(services: Services) -> Flask:
    """The application around its parts."""
    app = Flask("codexproxy", static_folder=None)
    app.url_map.strict_slashes = False
    hooks.register(app, services)
    error_handlers.register(app)
    attach(app, services)
    for blueprint in (
        routes.turn_routes,
        routes.model_routes,
        routes.status_routes,
        auth_routes,
        responses_routes,
        codex_routes,
        quota_routes,
        reference_routes,
    ):
        app.register_blueprint(blueprint(services))
    app.wsgi_app = CanonicalPaths(app.wsgi_app)  # type: ignore[method-assign]
    return app


def make_router(settings: Settings, providers: list[Provider], fixer: RequestFixer, quotas: QuotaBook) -> Router:
    """What sends turns to the providers."""
    return Router(
        providers,
        affinity=HostAffinity(DataDir(settings.data_dir).affinity),
        fixer=fixer,
        quotas=quotas,
    )


def make_fixer(library: InstructionCatalog, catalogue: LiveCatalogue) -> RequestFixer:
    """What changes turns that upstream refused."""

    def spec_of(slug: str) -> ModelSpec | None:
        wanted = catalogue.current().find(slug)
        return wanted.spec if wanted else None

    return RequestFixer(library.for_model, spec_of)


def make_keys(settings: Settings) -> KeyRing:
    """Who may ask; read once already, so that a key file that breaks later leaves known keys in force."""
    keys = KeyRing(
        api_key=settings.api_key,
        users=settings.users,
        allow_unauthenticated=settings.allow_unauthenticated,
        source=KeyFile(DataDir(settings.data_dir).keys),
        is_public=not is_loopback_host(settings.host),
    )
    # Broken from the start, it lets nobody in, and says so at every request.
    with suppress(ProxyError):
        _ = keys.configured
    return keys


def make_access(
    settings: Settings, library: InstructionCatalog, quotas: QuotaBook, providers: list[Provider]
) -> AccessPolicy:
    """What decides about every turn."""
    counted = open_storage(settings.limits_storage or storage_uri(DataDir(settings.data_dir).limits))
    return AccessPolicy(
        rules={rule.client: rule for rule in settings.guard},
        instructions=library,
        limiter=Limiter(counted, counted, per_minute=settings.rate_per_minute),
        parallel=ParallelTurns(DataDir(settings.data_dir).parallel, settings.max_parallel_requests),
        quotas=quotas,
        providers=providers,
    )


def make_policy(settings: Settings, library: InstructionCatalog, stand_ins: Mapping[str, str]) -> Policy:
    """What the owner decided for all turns."""
    official = settings.codex_mode == "true"
    return Policy(
        mode=settings.codex_mode,
        effort=settings.reasoning_effort,
        verbosity=settings.text_verbosity,
        summary=settings.reasoning_summary,
        default_model=settings.default_model,
        strict=settings.models_strict,
        prompts=library.for_model if official else family_prompts(stand_ins),
        conversation=Conversations(DataDir(settings.data_dir).conversations).id_of,
        pause=let_others_run,
    )


def family_prompts(texts: Mapping[str, str]) -> Callable[[str], str]:
    """A model's slug -> its family's text; models newer than the texts get the newest of their kind."""
    families = sorted(texts, reverse=True)
    codex = next((name for name in families if name.endswith("-codex")), families[0])
    plain = next((name for name in families if "codex" not in name), families[0])

    def text_for(slug: str) -> str:
        return texts.get(slug) or texts[codex if "codex" in slug else plain]

    return text_for


def _slots(settings: Settings, metrics: Metrics) -> Slots | None:
    if settings.max_parallel_requests is None:
        return None
    return Slots(
        DataDir(settings.data_dir).slots,
        settings.max_parallel_requests,
        settings.queue_timeout_seconds,
        most_waiting=settings.max_queued_requests,
        observe=metrics.queued,
    )


def _inliner(settings: Settings) -> Inliner | None:
    if not settings.fetch_remote_images or settings.local_only:
        return None
    return Inliner(
        ImageFetcher(lambda address: is_public_address(address) and not is_own_address(address)),
        settings.max_body_bytes,
    )
