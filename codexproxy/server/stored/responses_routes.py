"""What can be done with responses besides asking for them: fetch, follow, list, delete, cancel, count."""

from flask import Blueprint, Response, request

from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.apis.openai_responses.stored import (
    cancellable,
    deleted,
    found,
    listing,
    page,
    starting_after,
)
from codexproxy.metering.input_tokens import count_input
from codexproxy.protocol.request import Caller
from codexproxy.server.request_body.body import parse_object, read_body
from codexproxy.server.request_context import current
from codexproxy.server.responses import json_reply, stream_reply
from codexproxy.server.services import Services
from codexproxy.server.stored.resume import ResumeReader
from codexproxy.server.stream_runner import StreamRunner
from codexproxy.storage.stored_responses import OwnedResponses


def responses_routes(services: Services) -> Blueprint:
    """The routes about stored responses."""
    blueprint = Blueprint("responses", __name__)
    responses = services.responses

    def mine() -> OwnedResponses:
        return responses.of(current().identity.owner)

    @blueprint.get("/responses/<id>")
    def retrieve(id: str) -> Response:
        response = found(mine().get(id), id)
        if request.args.get("stream") != "true":
            return json_reply(response)
        reader = ResumeReader(mine(), id, starting_after(request.args), is_awaited=responses.grace > 0)
        context = current()
        return stream_reply(StreamRunner(reader, reader, context, services.heartbeat_seconds).pieces(), context)

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
        payload = parse_object(read_body(request.environ, services.max_body_bytes))
        turn = responses.recall(ResponsesApi(services.pause).parse(payload, Caller(current().identity.owner)))
        return json_reply({"object": "response.input_tokens", "input_tokens": count_input(turn.body, services.pause)})

    return blueprint
