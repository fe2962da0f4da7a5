"""Answers one turn request: a client's JSON in, its bytes out."""

from functools import partial

from flask import Response, request

from codexproxy.apis.base import Api
from codexproxy.server import dry_run
from codexproxy.server.non_streaming import collect_answer
from codexproxy.server.prepare import admit, open_call, prepare
from codexproxy.server.request_context import current
from codexproxy.server.responses import json_reply, stream_reply
from codexproxy.server.services import Services
from codexproxy.server.stored.background import answer_detached
from codexproxy.server.stream_runner import RenderingSink, StreamRunner


def handle(api: Api, services: Services) -> Response:
    """Answers the current request in its API format: authorises, parses, plans, admits, opens, renders.

    Raises:
        ProxyError: It was refused, or failed before anything was sent.
    """
    context = current()
    running = context.begin_turn(api.name)
    prepared = prepare(api, services, context, running)
    if request.headers.get(dry_run.HEADER) == "1":
        return dry_run.reply(prepared, services, context)
    if api.stateful and services.responses.outlives(prepared.turn):
        return answer_detached(api, prepared, services, context, running)
    admit(prepared, services, context, running)
    saver = services.responses.saver(api, prepared.turn) if api.stateful else None
    open = partial(open_call, prepared, services, running)
    if prepared.turn.stream:
        call = open()
        # Until the first heartbeat is due a refusal can still have a status of its own.
        if call.wait(services.heartbeat_seconds):
            call.streams()
        sink = RenderingSink(api.renderers(prepared.turn), saver)
        return stream_reply(StreamRunner(call, sink, context, services.heartbeat_seconds).pieces(), context)
    body = collect_answer(api, prepared.turns, open, running)
    if saver is not None:
        saver.save(body)
    return json_reply(body)
