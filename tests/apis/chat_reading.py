"""Reads chat answers as a client would, and holds every object to the published schema."""

import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from codexproxy.apis.openai_chat import ChatApi
from codexproxy.apis.openai_chat.render import ChunkRenderer
from codexproxy.protocol.aggregate import aggregate
from codexproxy.protocol.events import Batch, Event
from codexproxy.protocol.request import Caller, Turn
from tests.data import SCHEMAS

HELLO = [{"role": "user", "content": "hi"}]
API = ChatApi(clock=lambda: 1_767_225_600.9, identify=lambda: "chatcmpl-codex-1")


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text()))


def assert_valid(name: str, value: dict[str, Any]) -> None:
    """The value obeys the schema."""
    assert not [error.message for error in _validator(name).iter_errors(value)], value


@dataclass
class Seen:
    """What a client has in the end."""

    chunks: list[dict[str, Any]] = field(default_factory=list)
    content: str = ""
    refusal: str = ""
    reasoning: str = ""
    annotations: list[dict[str, Any]] = field(default_factory=list)
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    function_call: dict[str, str] | None = None
    finish: str | None = None
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    terminators: int = 0


def read(stream: bytes, index: int = 0) -> Seen:
    """Reads one choice of a stream, each chunk held to the schema."""
    seen = Seen()
    for line in stream.decode().split("\n\n"):
        if line == "data: [DONE]":
            seen.terminators += 1
        elif line:
            assert not seen.terminators, "something follows the terminator"
            assert line.startswith("data: ")
            _take(seen, json.loads(line[6:]), index)
    return seen


def _take(seen: Seen, chunk: dict[str, Any], index: int) -> None:
    if "error" in chunk:
        assert seen.error is None
        seen.error = chunk["error"]
        return
    assert_valid("CreateChatCompletionStreamResponse", chunk)
    seen.chunks.append(chunk)
    seen.usage = chunk.get("usage") or seen.usage
    for choice in chunk["choices"]:
        if choice["index"] == index:
            assert seen.finish is None, "a chunk after the last one of its choice"
            seen.finish = choice["finish_reason"]
            _add(seen, choice["delta"])


def _add(seen: Seen, delta: dict[str, Any]) -> None:
    seen.content += delta.get("content") or ""
    seen.refusal += delta.get("refusal") or ""
    seen.reasoning += delta.get("reasoning_content") or ""
    seen.annotations += delta.get("annotations", [])
    if "function_call" in delta:
        call = seen.function_call or {"name": "", "arguments": ""}
        seen.function_call = {key: call[key] + delta["function_call"].get(key, "") for key in call}
    for piece in delta.get("tool_calls", []):
        _add_call(seen.calls, piece)


def _add_call(calls: dict[int, dict[str, Any]], piece: dict[str, Any]) -> None:
    kind = "custom" if "custom" in piece else "function"
    written = "input" if kind == "custom" else "arguments"
    if piece["index"] not in calls:
        # The first piece is the whole header, and no later one repeats any of it.
        assert piece["id"] and piece[kind]["name"] and piece[kind][written] == ""
        assert piece.get("type", "custom") == kind
        calls[piece["index"]] = {"id": piece["id"], "kind": kind, "name": piece[kind]["name"], "written": ""}
        return
    assert piece.keys() == {"index", kind} and piece[kind].keys() == {written}
    calls[piece["index"]]["written"] += piece[kind][written]


def turn_of(client: str = "unknown", **payload: Any) -> Turn:
    """A turn from a request with these fields."""
    return API.parse({"model": "gpt-5.2", "messages": HELLO, **payload}, Caller(client=client))


def renderer_of(client: str = "unknown", **payload: Any) -> ChunkRenderer:
    """A renderer for a streamed request with these fields."""
    return API.renderers(turn_of(client, stream=True, **payload))[0]


def streamed(events: Batch, client: str = "unknown", **payload: Any) -> Seen:
    """What a client sees of these events."""
    return read(renderer_of(client, **payload).render(events))


def completed(events: Batch, client: str = "unknown", **payload: Any) -> dict[str, Any]:
    """The final object for these events, held to the schema."""
    told = API.complete(turn_of(client, **payload), [aggregate([events])])
    assert_valid("CreateChatCompletionResponse", told)
    return told


# -- events -------------------------------------------------------------------------


def events(*payloads: dict[str, Any]) -> Batch:
    """Events from their JSON."""
    return [Event.of(payload) for payload in payloads]


def created() -> dict[str, Any]:
    """The first event of every stream."""
    return {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}}


def added(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    """An item is announced."""
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    """An item is complete."""
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def text_delta(text: str, index: int = 0, part: int = 0) -> dict[str, Any]:
    """More text."""
    place = {"output_index": index, "content_index": part}
    return {"type": "response.output_text.delta", "delta": text, **place}


def summary_delta(text: str, index: int = 0, part: int = 0) -> dict[str, Any]:
    """More of a reasoning summary."""
    place = {"output_index": index, "summary_index": part}
    return {"type": "response.reasoning_summary_text.delta", "delta": text, **place}


def message(text: str, **more: Any) -> dict[str, Any]:
    """A message item."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "role": "assistant", "content": [part] if text else [], **more}


def reasoning(*texts: str) -> dict[str, Any]:
    """A reasoning item."""
    return {"type": "reasoning", "summary": [{"type": "summary_text", "text": text} for text in texts]}


def function_call(name: str, arguments: str = "", id: str = "call_1") -> dict[str, Any]:
    """A function call item."""
    return {"type": "function_call", "id": f"fc_{id}", "call_id": id, "name": name, "arguments": arguments}


def custom_call(name: str, input: str = "", id: str = "call_1") -> dict[str, Any]:
    """A custom tool call item."""
    return {"type": "custom_tool_call", "id": f"ctc_{id}", "call_id": id, "name": name, "input": input}


def fragment(text: str, index: int = 0, kind: str = "function_call_arguments") -> dict[str, Any]:
    """More of a call's arguments."""
    return {"type": f"response.{kind}.delta", "output_index": index, "delta": text}


USAGE = {
    "input_tokens": 12,
    "input_tokens_details": {"cached_tokens": 5},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 19,
}


def ended(type: str = "response.completed", **response: Any) -> dict[str, Any]:
    """The terminal event."""
    status = type.removeprefix("response.")
    return {"type": type, "response": {"id": "resp_1", "status": status, "output": [], "usage": USAGE, **response}}
