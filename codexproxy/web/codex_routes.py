"""What the Codex CLI asks of its own backend, so that we can stand in for it (UPSTREAM.md §1, §5, §7, §8)."""

import hashlib
from functools import lru_cache

from flask import Blueprint, Response, g, request

from codexproxy.backends.chatgpt.native import ACCOUNT, accounts
from codexproxy.errors import UpstreamFailed
from codexproxy.turns.catalogue import Catalogue
from codexproxy.turns.events import encode_json
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


def codex_models(catalogue: Catalogue) -> Response:
    """The catalogue as the CLI reads it; 304 for one who has it already.

    Raises:
        UpstreamFailed: Only names are known at this moment. The CLI has a list of its own for that.
    """
    if not catalogue.is_live:
        raise UpstreamFailed("Upstream's list of models is not known yet. Please try again soon.")
    body, tag = _listing(catalogue)
    response = Response(body, content_type="application/json")
    response.set_etag(tag, weak=True)
    response.make_conditional(request)
    return response


# A worker has one catalogue at a time, and a new one every hour.
@lru_cache(maxsize=2)
def _listing(catalogue: Catalogue) -> tuple[bytes, str]:
    body = encode_json({"models": catalogue.infos})
    return body, hashlib.sha256(body).hexdigest()[:32]
