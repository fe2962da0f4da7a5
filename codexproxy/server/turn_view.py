"""Joins one dialect to the backends: a request's JSON in, the client's bytes out."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import gevent
from flask import Response, g

from codexproxy.apis.base import Dialect, Renderer
from codexproxy.errors import ProxyError
from codexproxy.protocol.error_mapping import failure_of
from codexproxy.protocol.request import Turn
from codexproxy.server.bug_errors import internal_error
from codexproxy.server.non_streaming import whole_answer
from codexproxy.server.prepare import admit, dry_run, open_turns, read_entry
from codexproxy.server.request_context import RequestLog
from codexproxy.server.responses import HEARTBEAT, json_reply, stream_reply
from codexproxy.server.services import Wiring
from codexproxy.server.stored.background import answer_outliving
from codexproxy.server.stored.response_service import Keeping
from codexproxy.server.stream_merge import merge
from codexproxy.server.upstream_call import Opening

log = logging.getLogger(__name__)


def answer(dialect: Dialect, wiring: Wiring) -> Response:
    """Answers one turn request in its dialect."""
    entry = read_entry(dialect, wiring)
    shown = dry_run(entry, wiring)
    if shown is not None:
        return shown
    if dialect.stateful and wiring.shelf.outlives(entry.turn):
        return answer_outliving(dialect, wiring, entry)
    requestlog: RequestLog = g.log
    admit(entry, wiring, requestlog)
    keeping = wiring.shelf.keeping(dialect, entry.turn) if dialect.stateful else None
    opening = open_turns(entry, wiring, requestlog)
    if entry.turn.stream:
        return _streamed(dialect, entry.turn, opening, wiring.heartbeat_seconds, keeping)

    def reopen(turns: Sequence[Turn]) -> Opening:
        return open_turns(replace(entry, turns=list(turns)), wiring, requestlog)

    body = whole_answer(dialect, entry.turns, opening, reopen, requestlog)
    if keeping is not None:
        keeping.save(body)
    return json_reply(body)


def _streamed(dialect: Dialect, turn: Turn, opening: Opening, heartbeat: float, keeping: Keeping | None) -> Response:
    # Until the first heartbeat is due a refusal can still have a status of its own.
    if opening.wait(heartbeat):
        g.log.answered_by(opening.streams())
    return stream_reply(_pieces(opening, dialect.renderers(turn), g.log, heartbeat, keeping))


def _pieces(
    opening: Opening,
    renderers: Sequence[Renderer],
    requestlog: RequestLog,
    heartbeat: float,
    keeping: Keeping | None,
) -> Iterator[bytes]:
    number = 0
    try:
        if not opening.wait(0):
            # A heartbeat's pause has passed already, and nothing of the answer, its headers included, has left.
            yield HEARTBEAT
        while not opening.wait(heartbeat):
            yield HEARTBEAT
        streams = opening.streams()
        requestlog.answered_by(streams)
        batches = merge(streams)
        for number, batch in keeping.watch(batches) if keeping else batches:
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
        yield renderers[number].fail(error)
    except (GeneratorExit, gevent.GreenletExit):
        requestlog.left()
        raise
    except Exception:  # A bug must still end the stream with a reason.
        log.exception("bug in a stream")
        bug = internal_error(requestlog.request_id)
        requestlog.failed(bug)
        yield renderers[number].fail(bug)
