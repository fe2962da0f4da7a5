"""Joins one dialect to the backends: a request's JSON in, the client's bytes out."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import gevent
from flask import Response, g, request

from codexproxy.dialects.base import Dialect, Renderer
from codexproxy.errors import ProxyError, RateLimited
from codexproxy.observe.bodies import log_body
from codexproxy.turns.events import encode_json
from codexproxy.turns.failures import failure_of
from codexproxy.turns.turn import Turn
from codexproxy.web import dryrun
from codexproxy.web.body import parse_object, read_body
from codexproxy.web.merge import merge
from codexproxy.web.opening import Opening
from codexproxy.web.requestlog import RequestLog
from codexproxy.web.streamed import StreamedResponse
from codexproxy.web.whole import whole_answer
from codexproxy.web.wiring import Wiring

# A comment line, which every SSE client skips (WHATWG HTML §9.2.6).
HEARTBEAT = b": keepalive\n\n"

_STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}

log = logging.getLogger(__name__)


def answer(dialect: Dialect, wiring: Wiring) -> Response:
    """Answers one turn request in its dialect."""
    g.log.dialect = dialect.name
    payload = parse_object(read_body(request.environ, wiring.max_body_bytes))
    log_body("request body", payload)
    held = wiring.gate.recognise(g.identity, request.headers, payload, request.path)
    turns = wiring.plan(dialect, dialect.parse(payload, held.caller))
    turn = g.log.turn = turns[0]
    log_body("upstream body", turn.body)
    if request.headers.get(dryrun.HEADER) == "1":
        g.log.dialect = ""
        return _json(dryrun.explain(turns, wiring.router, held.route))
    requestlog: RequestLog = g.log
    requestlog.on_end(lambda: wiring.gate.close(held, requestlog.tokens))
    try:
        requestlog.headers = wiring.gate.admit(held, turn, requestlog.on_end).headers()
    except RateLimited:
        requestlog.headers = wiring.gate.standing(held).headers()
        raise

    def reopen(turns: Sequence[Turn]) -> Opening:
        opening = Opening(wiring.opener(held.route), turns)
        requestlog.on_end(opening.close)
        return opening

    opening = reopen(turns)
    if turn.stream:
        return _streamed(dialect, turn, opening, wiring.heartbeat_seconds)
    return _json(whole_answer(dialect, turns, opening, reopen, requestlog))


def _streamed(dialect: Dialect, turn: Turn, opening: Opening, heartbeat: float) -> Response:
    # Until the first heartbeat is due a refusal can still have a status of its own.
    if opening.wait(heartbeat):
        g.log.answered_by(opening.streams())
    pieces = _pieces(opening, dialect.renderers(turn), g.log, heartbeat)
    response = StreamedResponse(pieces, headers=_STREAM_HEADERS)
    g.log.follow(response)
    return response


def _pieces(
    opening: Opening, renderers: Sequence[Renderer], requestlog: RequestLog, heartbeat: float
) -> Iterator[bytes]:
    try:
        while not opening.wait(heartbeat):
            yield HEARTBEAT
        streams = opening.streams()
        requestlog.answered_by(streams)
        for number, batch in merge(streams):
            piece = renderers[number].render(batch) if batch else HEARTBEAT
            if piece:
                yield piece
        requestlog.ended(streams)
        for stream, renderer in zip(streams, renderers, strict=True):
            # A bare ``error`` event is not an end to every client; the dialect completes it.
            failure = failure_of(stream.terminal) if stream.terminal else None
            if failure is not None:
                yield renderer.fail(failure)
    except ProxyError as error:
        requestlog.failed(error)
        yield renderers[0].fail(error)
    except (GeneratorExit, gevent.GreenletExit):
        requestlog.left()
        raise
    except Exception:  # A bug must still end the stream with a reason.
        log.exception("bug in a stream")
        bug = internal_error(requestlog.request_id)
        requestlog.failed(bug)
        yield renderers[0].fail(bug)


def _json(value: Any) -> Response:
    return Response(encode_json(value), content_type="application/json")


def internal_error(request_id: str) -> ProxyError:
    """What the caller is told of a bug: no traceback, but what to report."""
    return ProxyError(f"Something went wrong inside the proxy. Please report it with the request id {request_id}.")
