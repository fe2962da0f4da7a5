"""What an answer says, and whether it is whole: the wire formats as a strict client reads them. Pure."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.soak.exchange import Seen

Json = dict[str, Any]
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"


@dataclass(slots=True)
class Told:
    """What a client was told.

    Attributes:
        text: The answer's words.
        calls: Tool calls: call id -> (name, arguments).
        code: The error's code; None where there is no error.
        id: The answer's id.
        flaw: What is wrong with the form of it; empty when nothing is.
    """

    text: str = ""
    calls: dict[str, tuple[str, str]] = field(default_factory=dict)
    code: str | None = None
    id: str = ""
    flaw: str = ""


def told(path: str, stream: bool, seen: Seen) -> Told:
    """Reads what came back."""
    is_stream = seen.headers.get("content-type", "").startswith("text/event-stream")
    try:
        if seen.status != 200:
            return _refusal(seen)
        if is_stream != stream:
            return Told(flaw=f"content-type {seen.headers.get('content-type')}")
        return _READERS[path, stream](seen.body)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        return Told(flaw=f"unreadable, {type(error).__name__}: {error}: {seen.body[-300:]!r}")


def _refusal(seen: Seen) -> Told:
    return _with_error(Told(), json.loads(seen.body)["error"])


def _with_error(found: Told, error: Json) -> Told:
    found.code = str(error["code"])
    if not (isinstance(error["message"], str) and error["message"]):
        found.flaw = f"an error without a message: {error}"
    return found


def _whole_chat(body: bytes) -> Told:
    answer = json.loads(body)
    message = answer["choices"][0]["message"]
    calls = {
        call["id"]: (call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls") or []
    }
    return Told(message.get("content") or "", calls, id=answer["id"])


def _chat_stream(body: bytes) -> Told:
    found, names = Told(), {}
    frames = _frames(body)
    if not frames or frames[-1] != [b"data: [DONE]"] or frames.count([b"data: [DONE]"]) != 1:
        return Told(flaw=f"the stream does not end with one [DONE]: {body[-200:]!r}")
    finished = 0
    for frame in frames[:-1]:
        chunk = json.loads(frame[0].removeprefix(b"data: "))
        if "error" in chunk:
            _with_error(found, chunk["error"])
            continue
        found.id = chunk["id"]
        for choice in chunk["choices"]:
            found.text += choice["delta"].get("content") or ""
            finished += choice["finish_reason"] is not None
            for call in choice["delta"].get("tool_calls") or []:
                names.setdefault(call["index"], call.get("id", ""))
                name, arguments = found.calls.get(names[call["index"]], ("", ""))
                function = call["function"]
                found.calls[names[call["index"]]] = (
                    name or function.get("name", ""),
                    arguments + (function.get("arguments") or ""),
                )
    if found.code is None and finished != 1:
        found.flaw = f"{finished} reasons to finish"
    return found


def _whole_response(body: bytes) -> Told:
    return _response(json.loads(body))


def _response(response: Json) -> Told:
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    calls = {
        item["call_id"]: (item["name"], item["arguments"])
        for item in response["output"]
        if item["type"] == "function_call"
    }
    flaw = "" if response["status"] == "completed" else f"status {response['status']}"
    return Told("".join(part["text"] for part in parts), calls, id=response["id"], flaw=flaw)


def _response_stream(body: bytes) -> Told:
    events = []
    for lines in _frames(body):
        fields = dict(line.split(b": ", 1) for line in lines)
        events.append(json.loads(fields[b"data"]))
    kinds = [event["type"] for event in events]
    endings = [kind for kind in kinds if kind in ("response.completed", "response.failed", "error")]
    if not endings or kinds[-1] != endings[-1] or "response.completed" in endings[:-1]:
        return Told(flaw=f"the stream does not end as it should: {kinds[-4:]}")
    if endings == ["response.completed"]:
        return _streamed_response(events)
    last = events[-1]
    error = last["response"]["error"] if last["type"] == "response.failed" else last.get("error") or last
    return _with_error(Told(), error)


def _streamed_response(events: list[Json]) -> Told:
    """The words as they came; the last object may leave its output out, as upstream does, but not change it."""
    final = events[-1]["response"]
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    found = _response({**final, "output": items})
    deltas = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    if deltas != found.text or final["output"] not in ([], items):
        found.flaw = f"deltas {deltas!r}, text {found.text!r}, final output {final['output']!r}"
    return found


def _frames(body: bytes) -> list[list[bytes]]:
    """The lines of each frame; comments are left out."""
    if body and not body.endswith(b"\n\n"):
        raise ValueError("the last frame is cut")
    frames = [
        [line for line in frame.split(b"\n") if line and not line.startswith(b":")] for frame in body.split(b"\n\n")
    ]
    return [frame for frame in frames if frame]


_READERS: dict[tuple[str, bool], Callable[[bytes], Told]] = {
    (CHAT, False): _whole_chat,
    (CHAT, True): _chat_stream,
    (RESPONSES, False): _whole_response,
    (RESPONSES, True): _response_stream,
}
