"""What the platform's published schemas say of the answers a client was given.

Exceptions are those that recorded traffic shows, too (tests/data/README.md).
"""

import json
import re
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from tests.clients import grammar
from tests.clients.relay import Exchange
from tests.data import SCHEMAS
from tests.simulator import event_schemas

Json = dict[str, Any]

# The published list of a failed response's codes is closed, but failures between upstream
# and the client need names of their own.
OUR_CODES = {"upstream_truncated", "upstream_timeout", "upstream_unavailable", "empty_response"}


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text()))


def flaws(exchange: Exchange) -> list[str]:
    """Everything that is wrong with an answer; none for kinds without a schema."""
    path = exchange.path.split("?")[0].rstrip("/")
    if exchange.status >= 400:
        return _check("ErrorResponse", exchange)
    for ending, judge in _JUDGES.items():
        if path.endswith(ending):
            return judge(exchange)
    return []


def _check(name: str, exchange: Exchange) -> list[str]:
    return _errors(name, json.loads(exchange.body))


def _errors(name: str, value: Any) -> list[str]:
    found = _validator(name).iter_errors(value)
    return [f"{name}: {error.json_path} {error.message[:300]}" for error in found]


def _streamed(exchange: Exchange) -> bool:
    return exchange.headers.get("content-type", "").startswith("text/event-stream")


def _data(exchange: Exchange) -> list[str]:
    """The payloads of a stream; a last one that was cut off does not count."""
    blocks = exchange.body.decode("utf-8", "ignore").split("\n\n")[:-1]
    return [line[6:] for block in blocks for line in block.split("\n") if line.startswith("data: ")]


def _chunks(name: str, exchange: Exchange) -> list[str]:
    found = []
    for payload in _data(exchange):
        value = {} if payload == "[DONE]" else json.loads(payload)
        if "error" in value:
            found += _errors("ErrorResponse", value)
        elif value:
            found += _errors(name, value)
    return found


def _chat(exchange: Exchange) -> list[str]:
    if _streamed(exchange):
        found = _chunks("CreateChatCompletionStreamResponse", exchange)
        # The platform's own libraries need the type of a custom call, which its schema of chunks forgot.
        return [flaw for flaw in found if "'custom' is not one of ['function']" not in flaw] + grammar.flaws(exchange)
    return _check("CreateChatCompletionResponse", exchange)


def _completion(exchange: Exchange) -> list[str]:
    if not _streamed(exchange):
        return _check("CreateCompletionResponse", exchange)
    # Until the last chunk the platform itself sends nulls (its text on ``include_usage`` says so),
    # which its schema does not allow.
    found = _chunks("CreateCompletionResponse", exchange)
    return [flaw for flaw in found if not re.search(r"finish_reason None|\$\.usage None", flaw)]


def _as_published(response: Json) -> Json:
    """A Response object without what real ones have and the schema lacks."""
    error = response.get("error")
    if error and error["code"] in OUR_CODES:
        error["code"] = "server_error"
    format = (response.get("text") or {}).get("format") or {}
    if format.get("description", "") is None:
        del format["description"]
    return {name: value for name, value in response.items() if value is not None or name not in ("user", "usage")}


def _event(payload: str) -> Json:
    event: Json = json.loads(payload)
    if "response" in event:
        event["response"] = _as_published(event["response"])
    return event


def _responses(exchange: Exchange) -> list[str]:
    if _streamed(exchange):
        return [flaw for payload in _data(exchange) for flaw in event_schemas.flaws(_event(payload))]
    return _errors("Response", _as_published(json.loads(exchange.body)))


def _models(exchange: Exchange) -> list[str]:
    return _check("ListModelsResponse", exchange)


_JUDGES = {
    "/chat/completions": _chat,
    "/completions": _completion,
    "/responses": _responses,
    "/models": _models,
}
