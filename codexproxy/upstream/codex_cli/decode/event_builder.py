"""Composes the events of an answer, in the order and with the fields of the Responses API.

See docs/reference/stream.md#events.
"""

import uuid
from typing import Any

from codexproxy.protocol.events import Batch, Event

Json = dict[str, Any]


class Item:
    """An output item under way: a message or a reasoning item with parts of text."""

    def __init__(self, id: str, index: int, type: str) -> None:
        self.id = id
        self.index = index
        self.type = type
        self.texts: list[str] = []
        self.finished_parts = 0


class Composer:
    """Turns what the CLI reports into events; every method returns those to send now.

    Items are known by the CLI's own ids and may overlap. Pure: ids and the time
    are handed in.

    Args:
        body: The turn's body; the Response object repeats some of its fields.
        created_at: Epoch seconds.
        stem: Unique part of the ids; random when omitted.
    """

    def __init__(self, body: Json, created_at: int, stem: str = "") -> None:
        self._stem = stem or uuid.uuid4().hex
        self._response = _response_object(body, f"resp_{self._stem}", created_at)
        self._open: dict[str, Item] = {}
        self._output: dict[int, Json] = {}
        self._items = 0
        self._sequence = 0

    def begin(self) -> Batch:
        """The first events of every answer."""
        return [
            self._event("response.created", response=dict(self._response)),
            self._event("response.in_progress", response=dict(self._response)),
        ]

    def message_delta(self, key: str, text: str, phase: str | None = None) -> Batch:
        """Further text of a message; opens it when it is new."""
        events, item = self._opened(key, "message", phase)
        return [*events, *self._grow(item, 0, text)]

    def message_done(self, key: str, text: str, phase: str | None = None) -> Batch:
        """The end of a message; ``text`` is all of it, streamed before or not."""
        events, item = self._opened(key, "message", phase)
        events += self._finish_part(item, 0, text)
        return [*events, *self._finish(key, _message(item, "completed", phase))]

    def reasoning_delta(self, key: str, index: int, text: str) -> Batch:
        """Further text of part ``index`` of a reasoning summary; opens both when they are new."""
        events, item = self._opened(key, "reasoning")
        return [*events, *self._grow(item, index, text)]

    def reasoning_done(self, key: str, summary: list[str], note: Json | None = None) -> Batch:
        """The end of a reasoning item.

        Args:
            key: The CLI's id of it.
            summary: All of its parts, streamed before or not; ``[]`` keeps what was streamed.
            note: What the item stands for, when it reports an activity.
        """
        events, item = self._opened(key, "reasoning")
        for index, text in enumerate(summary or list(item.texts)):
            events += self._grow(item, index, "") + self._finish_part(item, index, text)
        return [*events, *self._finish(key, _reasoning(item, note))]

    def complete(self, usage: Json | None) -> Batch:
        """The end of the answer; what is still open is closed first."""
        events: Batch = []
        for key, item in list(self._open.items()):
            text = item.texts[0] if item.texts else ""
            events += self.message_done(key, text) if item.type == "message" else self.reasoning_done(key, [])
        response = {
            **self._response,
            "status": "completed",
            "output": [item for _, item in sorted(self._output.items())],
            "usage": usage,
        }
        return [*events, self._event("response.completed", response=response)]

    def _opened(self, key: str, type: str, phase: str | None = None) -> tuple[Batch, Item]:
        item = self._open.get(key)
        if item is not None:
            return [], item
        item = Item(f"{_PREFIX[type]}_{self._stem}{self._items:04x}", self._items, type)
        self._items += 1
        self._open[key] = item
        blank = _message(item, "in_progress", phase) if type == "message" else _reasoning(item, None)
        return [self._event("response.output_item.added", output_index=item.index, item=blank)], item

    def _grow(self, item: Item, index: int, text: str) -> Batch:
        events: Batch = []
        while len(item.texts) <= index:
            events += self._finish_parts(item)
            item.texts.append("")
            events.append(self._part_event("added", item, len(item.texts) - 1))
        if text and index >= item.finished_parts:
            item.texts[index] += text
            more: Json = {"delta": text, "logprobs": []} if item.type == "message" else {"delta": text}
            events.append(self._event(_TEXT_EVENT[item.type] + ".delta", **_place(item, index), **more))
        return events

    def _finish_parts(self, item: Item) -> Batch:
        unfinished = list(enumerate(item.texts))[item.finished_parts :]
        return [event for index, text in unfinished for event in self._finish_part(item, index, text)]

    def _finish_part(self, item: Item, index: int, text: str) -> Batch:
        if index < item.finished_parts:
            return []
        sent = item.texts[index] if index < len(item.texts) else ""
        # Clients have read what was streamed, so only what is missing at its end can still be sent.
        events = self._grow(item, index, text[len(sent) :] if text.startswith(sent) else "")
        whole = item.texts[index]
        item.finished_parts = index + 1
        more: Json = {"text": whole, "logprobs": []} if item.type == "message" else {"text": whole}
        events.append(self._event(_TEXT_EVENT[item.type] + ".done", **_place(item, index), **more))
        return [*events, self._part_event("done", item, index)]

    def _part_event(self, what: str, item: Item, index: int) -> Event:
        text = item.texts[index]
        return self._event(f"{_PART_EVENT[item.type]}.{what}", **_place(item, index), part=_PART[item.type](text))

    def _finish(self, key: str, item: Json) -> Batch:
        index = self._open.pop(key).index
        self._output[index] = item
        return [self._event("response.output_item.done", output_index=index, item=item)]

    def _event(self, type: str, **fields: Any) -> Event:
        event = Event.of({"type": type, **fields, "sequence_number": self._sequence})
        self._sequence += 1
        return event


_PREFIX = {"message": "msg", "reasoning": "rs"}
_TEXT_EVENT = {"message": "response.output_text", "reasoning": "response.reasoning_summary_text"}
_PART_EVENT = {"message": "response.content_part", "reasoning": "response.reasoning_summary_part"}
_INDEX = {"message": "content_index", "reasoning": "summary_index"}


def _text_part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _summary_part(text: str) -> Json:
    return {"type": "summary_text", "text": text}


_PART = {"message": _text_part, "reasoning": _summary_part}


def _place(item: Item, index: int) -> Json:
    return {"item_id": item.id, "output_index": item.index, _INDEX[item.type]: index}


def _message(item: Item, status: str, phase: str | None) -> Json:
    message: Json = {"id": item.id, "type": "message", "status": status, "role": "assistant"}
    message["content"] = [_text_part(text) for text in item.texts]
    return {**message, "phase": phase} if phase else message


def _reasoning(item: Item, note: Json | None) -> Json:
    reasoning: Json = {"id": item.id, "type": "reasoning", "summary": [_summary_part(text) for text in item.texts]}
    return {**reasoning, "x_codex": note} if note else reasoning


def _response_object(body: Json, id: str, created_at: int) -> Json:
    reasoning, text = body.get("reasoning") or {}, body.get("text") or {}
    return {
        "id": id,
        "object": "response",
        "created_at": created_at,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": None,
        "model": body.get("model"),
        "output": [],
        "parallel_tool_calls": bool(body.get("parallel_tool_calls", True)),
        "previous_response_id": None,
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "service_tier": "auto",
        "store": False,
        "temperature": 1.0,
        "text": {"format": text.get("format") or {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
    }


def usage_object(input: int, cached: int, cache_written: int, output: int, reasoning: int) -> Json:
    """Token counts in the form of the terminal event (docs/reference/stream.md#events)."""
    return {
        "input_tokens": input,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": cache_written},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": input + output,
    }
