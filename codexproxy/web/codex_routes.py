"""What the Codex CLI asks of its own backend, so that we can stand in for it (UPSTREAM.md §1, §5, §7, §8)."""

from flask import Blueprint, Response, g, request

from codexproxy.backends.chatgpt.native import ACCOUNT, accounts
from codexproxy.web.codex_catalogue import codex_models
from codexproxy.web.codex_client import CODEX, WHAM
from codexproxy.web.replies import json_reply
from codexproxy.web.wiring import Wiring

# Who it is that upstream knows; the CLI does not need it, and it may be somebody else's.
_PERSONAL = frozenset({"user_id", "account_id", "email"})


def codex_routes(wiring: Wiring) -> Blueprint:
    """Models, usage and accounts; turns have their own routes."""
    blueprint = Blueprint("codex", __name__)

    @blueprint.get(f"{CODEX}/models")
    def models() -> Response:
        return codex_models(wiring.catalogue.current())

    @blueprint.get(f"{WHAM}/usage")
    def usage() -> Response:
        held = wiring.gate.recognise(g.identity, request.headers, {}, request.path)
        report = wiring.router.usage(held.route)
        return json_reply({name: value for name, value in report.items() if name not in _PERSONAL})

    @blueprint.get(f"{WHAM}/accounts/check")
    def check() -> Response:
        origin = request.host_url.rstrip("/")
        return json_reply(accounts(request.headers.get(ACCOUNT), origin, _plan(wiring)))

    return blueprint


def _plan(wiring: Wiring) -> str | None:
    quotas = (wiring.gate.quotas.of(provider.name) for provider in wiring.router.providers)
    return next((quota.plan for quota in quotas if quota and quota.plan), None)
