"""What can be done with responses besides asking for them: fetch, follow, list, delete, cancel, count."""

from collections.abc import Iterator

import gevent
from flask import Blueprint, Response, g, request

from codexproxy.dialects.responses import ResponsesDialect
from codexproxy.dialects.responses.stored import (
    broken,
    cancellable,
    closing,
    deleted,
    found,
    is_end,
    listing,
    page,
    starting_after,
)
from codexproxy.errors import ProxyError
from codexproxy.state.responses.owned import OwnedResponses
from codexproxy.turns.count import count_input
from codexproxy.turns.turn import Caller
from codexproxy.web.body import parse_object, read_body
from codexproxy.web.replies import HEARTBEAT, json_reply, stream_reply
from codexproxy.web.requestlog import RequestLog
from codexproxy.web.wiring import Wiring

# Seconds after which a reader says again that it is there, for streams that wait for one.
STILL_HERE = 5.0


def responses_routes(wiring: Wiring) -> Blueprint:
    """The routes about stored responses."""
    blueprint = Blueprint("responses", __name__)
    shelf = wiring.shelf

    def mine() -> OwnedResponses:
        return shelf.of(g.identity.name)

    @blueprint.get("/responses/<id>")
    def retrieve(id: str) -> Response:
        response = found(mine().get(id), id)
        if request.args.get("stream") != "true":
            return json_reply(response)
        return stream_reply(followed(mine(), id, starting_after(request.args), wiring.heartbeat_seconds, g.log))

    @blueprint.delete("/responses/<id>")
    def delete(id: str) -> Response:
        return json_reply(deleted(mine().delete(id), id))

    @blueprint.get("/responses/<id>/input_items")
    def input_items(id: str) -> Response:
        history = mine().history(id)
        found({} if history else None, id)
        return json_reply(page(history.input if history else [], listing(request.args)))

    @blueprint.post("/responses/<id>/cancel")
    def cancel(id: str) -> Response:
        cancellable(found(mine().get(id), id))
        return json_reply(found(mine().cancel(id), id))

    @blueprint.post("/responses/input_tokens")
    def input_tokens() -> Response:
        payload = parse_object(read_body(request.environ, wiring.max_body_bytes))
        turn = shelf.recall(ResponsesDialect().parse(payload, Caller(g.identity.name)))
        return json_reply({"object": "response.input_tokens", "input_tokens": count_input(turn.body)})

    return blueprint


def followed(mine: OwnedResponses, id: str, after: int, heartbeat: float, requestlog: RequestLog) -> Iterator[bytes]:
    """A response's frames behind number ``after``, as they come, up to its end."""
    last, ended = after, False
    try:
        for frames in mine.follow(id, after, patience=min(heartbeat, STILL_HERE), sleep=gevent.sleep):
            if frames:
                last, ended = frames[-1][0], is_end(frames[-1][1])
            yield b"".join(frame for _, frame in frames) or HEARTBEAT
        if not ended:
            yield closing(mine.get(id), last, id)
    except ProxyError as error:
        requestlog.failed(error)
        yield broken(error, last)
