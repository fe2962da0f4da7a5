"""``POST /responses/compact``: passed on to upstream, emulated where upstream lacks it."""

from typing import Any

from flask import Response, request

from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.apis.openai_responses.compaction import KEYS, summarised, summarising
from codexproxy.errors import NotOffered
from codexproxy.metering.charge import with_tally
from codexproxy.server import dry_run
from codexproxy.server.non_streaming import collect
from codexproxy.server.prepare import PreparedRequest, admit, open_call, prepare
from codexproxy.server.request_context import current
from codexproxy.server.responses import json_reply
from codexproxy.server.running_turn import RunningTurn
from codexproxy.server.services import Services

EMULATED = "compaction:emulated"


def compact(api: ResponsesApi, services: Services) -> Response:
    """Answers one request to make a conversation short."""
    context = current()
    running = context.begin_turn(api.name)
    prepared = prepare(api, services, context, running)
    if request.headers.get(dry_run.HEADER) == "1":
        return dry_run.reply(prepared, services, context)
    admit(prepared, services, context, running)
    (turn,) = with_tally([prepared.turn], running.tally)
    try:
        return json_reply(services.router.compact(turn, KEYS, prepared.access.route))
    except NotOffered:
        return json_reply(_emulated(prepared, services, running))


def _emulated(prepared: PreparedRequest, services: Services, running: RunningTurn) -> dict[str, Any]:
    call = open_call(prepared, services, running, [summarising(prepared.turn)])
    (response,) = collect(call, 1, running)
    running.planned = prepared.turn.with_notes(adapted=(EMULATED,))
    return summarised(prepared.turn, response)
