"""Scripted output items as events, one renderer per item type (docs/reference/stream.md#events). Pure.

A renderer is a generator: it yields wherever another item may go on, so that
parallel calls can be interleaved.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from codexproxy.simulator.events import STAMP, EventLog, Ids, Json, seal, split_text


@dataclass(slots=True)
class Stage:
    """What the items of one answer share.

    Attributes:
        account_id: Whom encrypted reasoning belongs to.
        encrypted: Whether reasoning items carry encrypted content.
        output: The finished items, in order of their output index.
    """

    log: EventLog
    ids: Ids
    account_id: str
    model: str
    encrypted: bool
    output: list[Json] = field(default_factory=list)
    status: str = "completed"

    def claim(self) -> int:
        """The next output index."""
        self.output.append({})
        return len(self.output) - 1

    def open(self, index: int, item: Json) -> None:
        """Announces an item."""
        self.log.add("response.output_item.added", item=item, output_index=index)

    def close(self, index: int, item: Json) -> None:
        """Finishes an item."""
        self.output[index] = item
        self.log.add("response.output_item.done", item=item, output_index=index)


Renderer = Callable[[Json, Stage], Iterator[None]]


def render_message(spec: Json, stage: Stage) -> Iterator[None]:
    """An assistant message of one text part."""
    pieces = _pieces(spec)
    text = "".join(pieces)
    annotations = spec.get("annotations") or []
    index, id = stage.claim(), spec.get("id") or stage.ids.new("msg")
    phase = {"phase": spec["phase"]} if spec.get("phase") else {}
    frame = {"id": id, "type": "message", "status": "in_progress", "content": [], **phase, "role": "assistant"}
    stage.open(index, frame)
    yield
    place = {"content_index": 0, "item_id": id, "output_index": index}
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    stage.log.add("response.content_part.added", **place, part=part)
    stage.log.add_deltas("response.output_text.delta", pieces, id, index, {"content_index": 0})
    yield
    for position, annotation in enumerate(annotations):
        kind = "response.output_text.annotation.added"
        stage.log.add(kind, annotation=annotation, annotation_index=position, **place)
    stage.log.add("response.output_text.done", **place, logprobs=[], text=text)
    part = {"type": "output_text", "annotations": annotations, "logprobs": [], "text": text}
    stage.log.add("response.content_part.done", **place, part=part)
    stage.close(index, {**frame, "status": stage.status, "content": [part]})


def _pieces(spec: Json) -> list[str]:
    if "deltas" in spec:
        pieces: list[str] = list(spec["deltas"])
    elif spec.get("stamp"):
        pieces = [STAMP]
    else:
        pieces = split_text(spec.get("text", ""), spec.get("split", "word"))
    return pieces * int(spec.get("repeat", 1))


def render_refusal(spec: Json, stage: Stage) -> Iterator[None]:
    """An assistant message of one refusal part."""
    index, id = stage.claim(), stage.ids.new("msg")
    frame = {"id": id, "type": "message", "status": "in_progress", "content": [], "role": "assistant"}
    stage.open(index, frame)
    yield
    place = {"content_index": 0, "item_id": id, "output_index": index}
    stage.log.add("response.content_part.added", **place, part={"type": "refusal", "refusal": ""})
    for piece in split_text(spec["text"], spec.get("split", "word")):
        stage.log.add("response.refusal.delta", delta=piece, **place)
    yield
    part = {"type": "refusal", "refusal": spec["text"]}
    stage.log.add("response.refusal.done", **place, refusal=spec["text"])
    stage.log.add("response.content_part.done", **place, part=part)
    stage.close(index, {**frame, "status": stage.status, "content": [part]})


def render_reasoning(spec: Json, stage: Stage) -> Iterator[None]:
    """A reasoning item, with summaries and encrypted content where wanted."""
    index, id = stage.claim(), stage.ids.new("rs")
    sealed = spec.get("encrypted_content") or seal(stage.account_id, stage.model)
    secret = {"encrypted_content": sealed} if stage.encrypted and spec.get("encrypted", True) else {}
    stage.open(index, {"id": id, "type": "reasoning", **secret, "summary": []})
    yield
    summary: list[Json] = []
    for number, text in enumerate(spec.get("summary") or []):
        place = {"item_id": id, "output_index": index, "summary_index": number}
        kind = "response.reasoning_summary"
        stage.log.add(f"{kind}_part.added", **place, part={"type": "summary_text", "text": ""})
        pieces = split_text(text, spec.get("split", "word"))
        stage.log.add_deltas(f"{kind}_text.delta", pieces, id, index, {"summary_index": number})
        yield
        part = {"type": "summary_text", "text": text}
        stage.log.add(f"{kind}_text.done", **place, text=text)
        stage.log.add(f"{kind}_part.done", **place, part=part)
        summary.append(part)
    content = _raw_reasoning(spec, stage, id, index)
    stage.close(index, {"id": id, "type": "reasoning", **content, **secret, "summary": summary})


def _raw_reasoning(spec: Json, stage: Stage, id: str, index: int) -> Json:
    text = spec.get("text")
    if not text:
        return {}
    pieces = split_text(text, spec.get("split", "word"))
    stage.log.add_deltas("response.reasoning_text.delta", pieces, id, index, {"content_index": 0})
    stage.log.add("response.reasoning_text.done", content_index=0, item_id=id, output_index=index, text=text)
    return {"content": [{"type": "reasoning_text", "text": text}]}


def render_function_call(spec: Json, stage: Stage) -> Iterator[None]:
    """A function call; ``arguments`` is text or an object, ``fragments`` how it is cut."""
    arguments = spec.get("arguments", "{}")
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    pieces = spec.get("fragments") or split_text(text, spec.get("split", 8))
    text = "".join(pieces)
    call = _call("function_call", spec, stage)
    names = ("response.function_call_arguments.delta", "response.function_call_arguments.done", "arguments")
    yield from _render_call(call, names, pieces, text, stage)


def render_custom_call(spec: Json, stage: Stage) -> Iterator[None]:
    """A call of a custom tool, whose input is free text."""
    pieces = spec.get("fragments") or split_text(spec.get("input", ""), spec.get("split", 8))
    call = _call("custom_tool_call", spec, stage)
    names = ("response.custom_tool_call_input.delta", "response.custom_tool_call_input.done", "input")
    yield from _render_call(call, names, pieces, "".join(pieces), stage)


def _call(kind: str, spec: Json, stage: Stage) -> Json:
    prefix = "fc" if kind == "function_call" else "ctc"
    space = {"namespace": spec["namespace"]} if spec.get("namespace") else {}
    call_id = spec.get("call_id") or stage.ids.call()
    return {"id": stage.ids.new(prefix), "type": kind, "call_id": call_id, "name": spec["name"], **space}


def _render_call(call: Json, names: tuple[str, str, str], pieces: list[str], text: str, stage: Stage) -> Iterator[None]:
    delta, done, field = names
    index, id = stage.claim(), call["id"]
    stage.open(index, {**call, "status": "in_progress", field: ""})
    yield
    for piece in pieces:
        stage.log.add_deltas(delta, [piece], id, index, {})
        yield
    stage.log.add(done, **{field: text}, item_id=id, output_index=index)
    stage.close(index, {**call, "status": stage.status, field: text})


def render_web_search(spec: Json, stage: Stage) -> Iterator[None]:
    """A hosted web search."""
    index, id = stage.claim(), stage.ids.new("ws")
    item = {"id": id, "type": "web_search_call", "status": "in_progress", "action": {"type": "search", "query": ""}}
    stage.open(index, item)
    for step in ("in_progress", "searching", "completed"):
        stage.log.add(f"response.web_search_call.{step}", item_id=id, output_index=index)
        yield
    query = spec.get("query", "")
    action = {"type": "search", "queries": [query], "query": query}
    stage.close(index, {**item, "status": "completed", "action": action})


def render_image(spec: Json, stage: Stage) -> Iterator[None]:
    """A hosted image generation; ``result`` is base64, ``partials`` a list of the same."""
    index, id = stage.claim(), stage.ids.new("ig")
    item = {"id": id, "type": "image_generation_call", "status": "in_progress", "result": None}
    stage.open(index, item)
    place = {"item_id": id, "output_index": index}
    for step in ("in_progress", "generating"):
        stage.log.add(f"response.image_generation_call.{step}", **place)
        yield
    for number, image in enumerate(spec.get("partials") or []):
        kind = "response.image_generation_call.partial_image"
        stage.log.add(kind, **place, partial_image_b64=image, partial_image_index=number)
    stage.log.add("response.image_generation_call.completed", **place)
    stage.close(index, {**item, "status": "completed", "result": spec.get("result", "")})


def render_compaction(spec: Json, stage: Stage) -> Iterator[None]:
    """A compaction item (docs/reference/requests.md#compaction)."""
    index = stage.claim()
    sealed = spec.get("encrypted_content") or seal(stage.account_id, stage.model)
    item = {"id": stage.ids.new("cmp"), "type": "compaction", "encrypted_content": sealed}
    stage.open(index, item)
    yield
    stage.close(index, item)


def render_item(spec: Json, stage: Stage) -> Iterator[None]:
    """Any item, taken over as it is."""
    index = stage.claim()
    stage.open(index, spec["item"])
    yield
    stage.close(index, spec["item"])


def render_event(spec: Json, stage: Stage) -> Iterator[None]:
    """Any event, taken over as it is."""
    stage.log.add_verbatim(spec["event"])
    yield


RENDERERS: dict[str, Renderer] = {
    "message": render_message,
    "refusal": render_refusal,
    "reasoning": render_reasoning,
    "function_call": render_function_call,
    "custom_tool_call": render_custom_call,
    "web_search_call": render_web_search,
    "image_generation_call": render_image,
    "compaction": render_compaction,
    "item": render_item,
    "event": render_event,
}


def render_items(specs: list[Json], stage: Stage) -> None:
    """Renders items one after the other; those marked ``interleave`` take turns with their neighbours.

    Raises:
        KeyError: A spec has an unknown type or lacks a field.
    """
    for group in _groups(specs):
        running: list[Any] = [RENDERERS[spec["type"]](spec, stage) for spec in group]
        while running:
            running = [renderer for renderer in running if next(renderer, stage) is None]


def _groups(specs: list[Json]) -> Iterator[list[Json]]:
    group: list[Json] = []
    for spec in specs:
        if group and not (spec.get("interleave") and group[-1].get("interleave")):
            yield group
            group = []
        group.append(spec)
    if group:
        yield group
