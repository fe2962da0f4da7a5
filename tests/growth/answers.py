"""Answers of any size: a row per kind of item, told in every order and with every kind of place."""

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
# Number of an item or part, of how many -> where its events stand.
Form = Callable[[int, int], Json]

PIECE = "word " * 40


def _part(kind: str, field: str) -> Json:
    return {"type": kind, field: PIECE * 2, "annotations": []}


CITATION = {"type": "url_citation", "url": "https://a.example", "title": "a", "start_index": 0, "end_index": 1}
MESSAGE: Json = {"type": "message", "role": "assistant", "content": []}
REASONING: Json = {"type": "reasoning", "summary": [], "encrypted_content": "gA"}
FUNCTION: Json = {"type": "function_call", "name": "f", "call_id": "c", "arguments": ""}
CUSTOM: Json = {"type": "custom_tool_call", "name": "f", "call_id": "c", "input": ""}

# Kind -> the item, what is told of each of its parts, and the finished item.
KINDS: dict[str, tuple[Json, list[Json], Json]] = {
    "text": (
        MESSAGE,
        [
            {"type": "response.content_part.added", "part": {"type": "output_text", "text": ""}},
            {"type": "response.output_text.delta", "delta": PIECE},
            {"type": "response.output_text.delta", "delta": PIECE},
            {"type": "response.output_text.annotation.added", "annotation": CITATION},
            {"type": "response.output_text.done", "text": PIECE * 2},
            {"type": "response.content_part.done", "part": _part("output_text", "text")},
        ],
        {**MESSAGE, "content": [_part("output_text", "text")]},
    ),
    "text without ends": (MESSAGE, [{"type": "response.output_text.delta", "delta": PIECE}], MESSAGE),
    "refusal": (
        MESSAGE,
        [
            {"type": "response.refusal.delta", "delta": PIECE},
            {"type": "response.refusal.delta", "delta": PIECE},
            {"type": "response.refusal.done", "refusal": PIECE * 2},
        ],
        {**MESSAGE, "content": [_part("refusal", "refusal")]},
    ),
    "summary": (
        REASONING,
        [
            {"type": "response.reasoning_summary_part.added", "part": {"type": "summary_text", "text": ""}},
            {"type": "response.reasoning_summary_text.delta", "delta": PIECE},
            {"type": "response.reasoning_summary_text.delta", "delta": PIECE},
            {"type": "response.reasoning_summary_text.done", "text": PIECE * 2},
            {"type": "response.reasoning_summary_part.done", "part": _part("summary_text", "text")},
        ],
        {**REASONING, "summary": [_part("summary_text", "text")]},
    ),
    "thought": (
        REASONING,
        [
            {"type": "response.reasoning_text.delta", "delta": PIECE},
            {"type": "response.reasoning_text.delta", "delta": PIECE},
            {"type": "response.reasoning_text.done", "text": PIECE * 2},
        ],
        {**REASONING, "content": [_part("reasoning_text", "text")]},
    ),
    "function": (
        FUNCTION,
        [
            {"type": "response.function_call_arguments.delta", "delta": PIECE},
            {"type": "response.function_call_arguments.delta", "delta": PIECE},
            {"type": "response.function_call_arguments.done", "arguments": PIECE * 2},
        ],
        {**FUNCTION, "arguments": PIECE * 2},
    ),
    "custom tool": (
        CUSTOM,
        [
            {"type": "response.custom_tool_call_input.delta", "delta": PIECE},
            {"type": "response.custom_tool_call_input.delta", "delta": PIECE},
            {"type": "response.custom_tool_call_input.done", "input": PIECE * 2},
        ],
        {**CUSTOM, "input": PIECE * 2},
    ),
}

# Whether each number is an item of its own, and its place.
FORMS: dict[str, tuple[bool, Form]] = {
    "pieces of one part": (False, lambda k, n: {"output_index": 0, "content_index": 0, "summary_index": 0}),
    "parts of one item": (False, lambda k, n: {"output_index": 0, "content_index": k, "summary_index": k}),
    "items": (True, lambda k, n: {"output_index": k, "content_index": 0, "summary_index": 0}),
    "items backwards": (True, lambda k, n: {"output_index": n - k, "content_index": 0, "summary_index": 0}),
    "items by id": (True, lambda k, n: {"item_id": f"id{k}", "content_index": 0, "summary_index": 0}),
    "items without a place": (True, lambda k, n: {}),
}

ADDED, DONE = "response.output_item.added", "response.output_item.done"
# Told once in every stream.
FRAME = ("response.created", "response.in_progress", "response.completed")
# As the three above, or an end like the last; only one of them is in a stream.
LIKE_THEM = ("response.queued", "response.done", "response.incomplete", "response.failed", "error")


def told(kind: str, form: str, count: int) -> list[Json]:
    """All events of a stream."""
    item, of_part, finished = KINDS[kind]
    many, place = FORMS[form]
    events: list[Json] = [{"type": type, "response": {"id": "resp_1", "status": "in_progress"}} for type in FRAME[:2]]
    last = place(0, count)
    for k in range(count):
        here = place(k, count)
        if k == 0 or many:
            events.append({"type": ADDED, "item": _named(item, here), **here})
        events += [{**event, **here} for event in of_part]
        if many:
            events.append({"type": DONE, "item": _named(finished, here), **here})
    if not many:
        events.append({"type": DONE, "item": _named(finished, last), **last})
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    events.append({"type": FRAME[2], "response": {"id": "resp_1", "status": "completed", "output": [], "usage": usage}})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _named(item: Json, place: Json) -> Json:
    return {**item, "id": place["item_id"]} if "item_id" in place else item
