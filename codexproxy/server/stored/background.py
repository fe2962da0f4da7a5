"""Turns that outlive their request: made in the background, or to be resumed."""

from collections.abc import Iterator
from dataclasses import replace

import gevent
from flask import Response, current_app, g

from codexproxy.apis.base import Api
from codexproxy.apis.openai_responses.response_builder import new_id
from codexproxy.gunicorn.inflight import underway_in
from codexproxy.server.prepare import Entry, admit, open_turns
from codexproxy.server.request_context import RequestContext
from codexproxy.server.responses import json_reply, stream_reply
from codexproxy.server.services import Services
from codexproxy.server.stored.background_run import BackgroundRun
from codexproxy.server.stored.background_writer import BackgroundWriter

# What is known of a background response before anything was asked upstream.
_QUEUED = {"status": "queued"}


def answer_outliving(api: Api, services: Services, entry: Entry) -> Response:
    """Begins an answer that goes on without its request; its limits and places are held until it ends."""
    background = entry.turn.storage.background
    entry = _named(entry) if background else entry
    grace = None if background else services.responses.grace
    context: RequestContext = g.log.successor()
    try:
        admit(entry, services, context)
        record = BackgroundWriter(api, entry.turn, services.responses.of(entry.turn.caller.key), services.pause)
        call = open_turns(entry, services, context)
        run = BackgroundRun(call, api.renderers(entry.turn)[0], record, grace, context)
        first = record.begin(_QUEUED) if background else {}
        # Until the first heartbeat is due a refusal can still have a status of its own.
        if not background and call.wait(services.heartbeat_seconds):
            g.log.answered_by(call.streams())
    except BaseException:
        context.finish()
        raise
    context.take_over(g.log)
    run.start(underway_in(current_app))
    g.log.on_end(run.leave)
    if not entry.turn.stream:
        return json_reply(first)
    return stream_reply(_pieces(run, record, g.log, services.heartbeat_seconds))


def _pieces(run: BackgroundRun, record: BackgroundWriter, context: RequestContext, patience: float) -> Iterator[bytes]:
    try:
        last = yield from run.pieces(patience)
        if last is not None:
            yield from record.reader().read(last, patience, context)
    except (GeneratorExit, gevent.GreenletExit):
        context.left()
        raise


def _named(entry: Entry) -> Entry:
    # The caller is told an id before upstream has one.
    turn = entry.turn
    return replace(entry, turns=[replace(turn, storage=replace(turn.storage, response_id=new_id("resp")))])
