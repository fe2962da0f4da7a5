"""Joins one API format to the backends: a request's JSON in, the client's bytes out."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import gevent
from flask import Response, g

from codexproxy.apis.base import Api, Renderer
from codexproxy.errors import ProxyError
from codexproxy.protocol.error_mapping import failure_of
from codexproxy.protocol.request import Turn
from codexproxy.server.bug_errors import internal_error
from codexproxy.server.non_streaming import whole_answer
from codexproxy.server.prepare import admit, dry_run, open_turns, read_entry
from codexproxy.server.request_context import RequestContext
from codexproxy.server.responses import HEARTBEAT, json_reply, stream_reply
from codexproxy.server.services import Services
from codexproxy.server.stored.background import answer_outliving
from codexproxy.server.stored.response_service import ResponseSaver
from codexproxy.server.stream_merge import merge
from codexproxy.server.upstream_call import UpstreamCall

log = logging.getLogger(__name__)


def answer(api: Api, services: Services) -> Response:
    """Answers one turn request in its API format."""
    entry = read_entry(api, services)
    shown = dry_run(entry, services)
    if shown is not None:
        return shown
    if api.stateful and services.responses.outlives(entry.turn):
        return answer_outliving(api, services, entry)
    context: RequestContext = g.log
    admit(entry, services, context)
    saver = services.responses.saver(api, entry.turn) if api.stateful else None
    call = open_turns(entry, services, context)
    if entry.turn.stream:
        return _streamed(api, entry.turn, call, services.heartbeat_seconds, saver)

    def reopen(turns: Sequence[Turn]) -> UpstreamCall:
        return open_turns(replace(entry, turns=list(turns)), services, context)

    body = whole_answer(api, entry.turns, call, reopen, context)
    if saver is not None:
        saver.save(body)
    return json_reply(body)


def _streamed(api: Api, turn: Turn, call: UpstreamCall, heartbeat: float, saver: ResponseSaver | None) -> Response:
    # Until the first heartbeat is due a refusal can still have a status of its own.
    if call.wait(heartbeat):
        g.log.answered_by(call.streams())
    return stream_reply(_pieces(call, api.renderers(turn), g.log, heartbeat, saver))


def _pieces(
    call: UpstreamCall,
    renderers: Sequence[Renderer],
    context: RequestContext,
    heartbeat: float,
    saver: ResponseSaver | None,
) -> Iterator[bytes]:
    number = 0
    try:
        if not call.wait(0):
            # A heartbeat's pause has passed already, and nothing of the answer, its headers included, has left.
            yield HEARTBEAT
        while not call.wait(heartbeat):
            yield HEARTBEAT
        streams = call.streams()
        context.answered_by(streams)
        batches = merge(streams)
        for number, batch in saver.watch(batches) if saver else batches:
            piece = renderers[number].render(batch) if batch else HEARTBEAT
            if piece:
                yield piece
        context.ended(streams)
        for stream, renderer in zip(streams, renderers, strict=True):
            # A bare ``error`` event is not an end to every client; the API format completes it.
            failure = failure_of(stream.terminal) if stream.terminal else None
            if failure is not None:
                yield renderer.fail(failure)
    except ProxyError as error:
        context.failed(error)
        yield renderers[number].fail(error)
    except (GeneratorExit, gevent.GreenletExit):
        context.left()
        raise
    except Exception:  # A bug must still end the stream with a reason.
        log.exception("bug in a stream")
        bug = internal_error(context.request_id)
        context.failed(bug)
        yield renderers[number].fail(bug)
