"""``x-codexproxy-dry-run: 1``: what a turn would send, without sending it."""

from collections.abc import Sequence
from typing import Any

from flask import Response

from codexproxy.protocol.request import Turn
from codexproxy.server.prepare import PreparedRequest
from codexproxy.server.request_context import RequestContext
from codexproxy.server.responses import json_reply
from codexproxy.server.services import Services
from codexproxy.upstream.provider import Provider
from codexproxy.upstream.router.candidates import Route
from codexproxy.upstream.router.router import Router

HEADER = "x-codexproxy-dry-run"


def reply(prepared: PreparedRequest, services: Services, context: RequestContext) -> Response:
    """What would be sent for a prepared request; nothing runs, so nothing is recorded.

    Raises:
        ModelNotFound: The key is not for this model, so that its caller may not learn what the name stands for.
    """
    services.access.check_model(prepared.access, prepared.turn)
    context.detach_turn()
    return json_reply(explain(prepared.turns, services.router, prepared.access.route))


def explain(turns: Sequence[Turn], router: Router, route: Route) -> dict[str, Any]:
    """What would be sent for these turns, and each rule that was applied.

    Args:
        turns: The turns of one request, planned.
        router: Knows the providers.
        route: Where the turns may go.
    """
    sent = [_prepared(turn, router, route) for turn in turns]
    return {
        "dry_run": True,
        "model": turns[0].model,
        "ignored": list(sent[0][0].ignored),
        "adapted": list(sent[0][0].adapted),
        "emulated": _emulated(turns[0]),
        "upstream": [_preview(turn, provider) for turn, provider in sent],
    }


def _prepared(turn: Turn, router: Router, route: Route) -> tuple[Turn, Provider | None]:
    provider = next(iter(router.preference(turn, route)), None)
    if provider is not None:
        turn = router.fitted(turn, provider, route)
    return turn, provider


def _preview(turn: Turn, provider: Provider | None) -> dict[str, Any]:
    if provider is None:
        return {"backend": None, "body": turn.body}
    return {"backend": provider.name, **provider.backend.preview(turn)}


def _emulated(turn: Turn) -> dict[str, Any]:
    found = {"stop": list(turn.stop), "max_tokens": turn.max_tokens, "n": turn.count if turn.count > 1 else None}
    return {name: value for name, value in found.items() if value}
