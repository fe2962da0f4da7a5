"""Turns that outlive their request: made in the background, or to be resumed."""

from collections.abc import Iterator
from dataclasses import replace

import gevent
from flask import Response, current_app, g

from codexproxy.apis.base import Dialect
from codexproxy.apis.openai_responses.response_builder import RESPONSE_ID, new_id
from codexproxy.gunicorn.inflight import underway_in
from codexproxy.server.prepare import Entry, admit, open_turns
from codexproxy.server.request_context import RequestLog
from codexproxy.server.responses import json_reply, stream_reply
from codexproxy.server.services import Wiring
from codexproxy.server.stored.background_run import Run
from codexproxy.server.stored.background_writer import Record

# What is known of a background response before anything was asked upstream.
_QUEUED = {"status": "queued"}


def answer_outliving(dialect: Dialect, wiring: Wiring, entry: Entry) -> Response:
    """Begins an answer that goes on without its request; its limits and places are held until it ends."""
    background = bool(entry.turn.options.get("background"))
    entry = _named(entry) if background else entry
    grace = None if background else wiring.shelf.grace
    requestlog: RequestLog = g.log.successor()
    try:
        admit(entry, wiring, requestlog)
        record = Record(dialect, entry.turn, wiring.shelf.of(entry.turn.caller.key), wiring.pause)
        opening = open_turns(entry, wiring, requestlog)
        run = Run(opening, dialect.renderers(entry.turn)[0], record, grace, requestlog)
        first = record.begin(_QUEUED) if background else {}
        # Until the first heartbeat is due a refusal can still have a status of its own.
        if not background and opening.wait(wiring.heartbeat_seconds):
            g.log.answered_by(opening.streams())
    except BaseException:
        requestlog.finish()
        raise
    requestlog.take_over(g.log)
    run.start(underway_in(current_app))
    g.log.on_end(run.leave)
    if not entry.turn.stream:
        return json_reply(first)
    return stream_reply(_pieces(run, record, g.log, wiring.heartbeat_seconds))


def _pieces(run: Run, record: Record, requestlog: RequestLog, patience: float) -> Iterator[bytes]:
    try:
        last = yield from run.pieces(patience)
        if last is not None:
            yield from record.reader().read(last, patience, requestlog)
    except (GeneratorExit, gevent.GreenletExit):
        requestlog.left()
        raise


def _named(entry: Entry) -> Entry:
    # The caller is told an id before upstream has one.
    turn = entry.turn
    return replace(entry, turns=[replace(turn, options={**turn.options, RESPONSE_ID: new_id("resp")})])
