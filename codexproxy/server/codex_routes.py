"""What the Codex CLI asks of its own backend, so that we can stand in for it (docs/reference/requests.md#endpoints)."""

from flask import Blueprint, Response, request

from codexproxy.access.authorization import Right
from codexproxy.server.codex_models import codex_models
from codexproxy.server.codex_request import CODEX, WHAM
from codexproxy.server.request_context import current
from codexproxy.server.responses import json_reply
from codexproxy.server.services import Services
from codexproxy.upstream.chatgpt.codex_passthrough import ACCOUNT, accounts, usage_told


def codex_routes(services: Services) -> Blueprint:
    """Models, usage and accounts; turns have their own routes."""
    blueprint = Blueprint("codex", __name__)

    @blueprint.get(f"{CODEX}/models")
    def models() -> Response:
        return codex_models(services.planner.models_for(current().identity))

    @blueprint.get(f"{WHAM}/usage")
    def usage() -> Response:
        access = services.access.authorize(current().identity, request.environ, {}, request.path)
        report = services.quota.usage(access.route.group)
        return json_reply(usage_told(report, whole=current().identity.may(Right.OWN)))

    @blueprint.get(f"{WHAM}/accounts/check")
    def check() -> Response:
        origin = request.host_url.rstrip("/")
        return json_reply(accounts(request.headers.get(ACCOUNT), origin, _plan(services)))

    return blueprint


def _plan(services: Services) -> str | None:
    quotas = (services.access.quotas.of(provider.name) for provider in services.router.providers)
    return next((quota.plan for quota in quotas if quota and quota.plan), None)
