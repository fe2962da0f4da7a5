"""The Response object around an answer: what repeats the request, what must not lack."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from codexproxy.compat.tool_names import renamed
from codexproxy.protocol.error_mapping import impersonal_error
from codexproxy.protocol.events import ERROR, RATE_LIMITS, Event, as_text
from codexproxy.protocol.item_tracker import CALL_FIELDS
from codexproxy.protocol.numbers import whole
from codexproxy.protocol.request import Turn

Json = dict[str, Any]

_BLANK: Json = {
    "object": "response",
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "output": [],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "metadata": {},
    "tool_choice": "auto",
    "tools": [],
    "temperature": 1.0,
    "top_p": 1.0,
}

# What the backend is never told, so that only the request can say it.
_KEPT_HERE = frozenset({"max_output_tokens", "user"})

# What upstream tells of its own: the instructions it was sent, which may be ours, and a name of the
# account. The caller gets back what he sent, and null where he sent nothing.
_CALLERS = ("instructions", "safety_identifier")

# What upstream tells of the account beside its windows.
_OWNERS = frozenset({"credits", "account_id", "user_id", "email"})

# The lite shape moves tools and instructions into the input, and upstream then
# repeats empty ones (docs/reference/requests.md#the-responses-lite-shape).
_EMPTY: tuple[Any, ...] = (None, "", [], {})

# Real traffic has them null, the public schema never.
_NEVER_NULL = frozenset({"user", "usage"})

_BLANK_ITEMS: dict[str, Json] = {
    "message": {"role": "assistant", "status": "completed", "content": []},
    "reasoning": {"summary": []},
    "function_call": {"arguments": "", "call_id": "", "name": ""},
    "custom_tool_call": {"input": "", "call_id": "", "name": ""},
    "image_generation_call": {"result": None},
}
_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "image_generation_call": "ig",
}

_BLANK_PARTS: dict[str, Json] = {
    "output_text": {"text": "", "annotations": [], "logprobs": []},
    "refusal": {"refusal": ""},
}


@dataclass(frozen=True, slots=True)
class ResponsesRenderOptions:
    """What the answer to a Responses request repeats of it (``Turn.render``).

    Attributes:
        given: The fields that answers repeat, as the caller wrote them.
        metadata: The caller's own.
        fitted: Fields that upstream is sent otherwise than the caller wrote them.
    """

    given: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    fitted: tuple[str, ...] = ()

    @classmethod
    def of(cls, turn: Turn) -> "ResponsesRenderOptions":
        """The options of a turn; empty ones for a turn of another API."""
        return turn.render if isinstance(turn.render, cls) else cls()


def new_id(prefix: str) -> str:
    """A fresh id in the platform's style, ``resp_0a1b…``."""
    return f"{prefix}_{uuid4().hex}"


class ResponseBuilder:
    """Dresses answers to one turn.

    Args:
        turn: The turn that is answered.
        clock: Seconds since the epoch.
        identify: Makes an id from a prefix.
    """

    def __init__(
        self, turn: Turn, clock: Callable[[], float] = time.time, identify: Callable[[str], str] = new_id
    ) -> None:
        self._given = ResponsesRenderOptions.of(turn).given
        self._names = turn.tool_names
        self._is_owner = turn.caller.is_owner
        self._stores = turn.storage.store is not False
        self._clock = clock
        self._identify = identify
        self._asked = _asked(turn)

    def changes(self, response: Json) -> Json:
        """What an upstream Response object says otherwise than the caller asked.

        Fields that upstream left out are no reason to touch its frame.
        """
        changes = {name: value for name, value in self._asked.items() if name in response and response[name] != value}
        error = response.get("error")
        if isinstance(error, dict) and (told := impersonal_error(error)) is not error:
            changes["error"] = told
        return {**self._own_names(response), **changes} if self._names else changes

    def event(self, event: Event) -> Event:
        """An event inside an answer, with the tool's name as the caller knows it, and without the account's credits."""
        if event.type == RATE_LIMITS:
            return Event.of({name: value for name, value in event.data.items() if name not in _OWNERS})
        data = event.data
        if event.type == ERROR:
            return _impersonal(event)
        if isinstance(data.get("item"), dict):
            return Event.of({**data, "type": event.type, "item": renamed(data["item"], self._names)})
        if data.get("name") in self._names:
            return Event.of({**data, "type": event.type, "name": self._names[data["name"]]})
        return event

    def _own_names(self, response: Json) -> Json:
        told = {name: response[name] for name in ("tools", "tool_choice", "output") if name in response}
        return {name: renamed(value, self._names) for name, value in told.items()}

    @property
    def hides(self) -> bool:
        """Whether the account is not the caller's, who then sees its windows only."""
        return not self._is_owner

    @property
    def renames(self) -> bool:
        """Whether the names of tools had to be changed for upstream."""
        return bool(self._names)

    def begun(self, response: Json) -> Json:
        """The Response object of an answer that only begins; the id it is given here stays."""
        whole = self.whole({**response, "output": [], "usage": None})
        self._asked["id"] = whole["id"]
        return {**whole, "status": "in_progress"}

    def whole(self, response: Json) -> Json:
        """A complete Response object, valid against the public schema.

        Upstream's word counts where it has one; the request fills the gaps,
        and what upstream was never told (``metadata``, …) is the request's.
        """
        filled = {**_BLANK, **{name: value for name, value in response.items() if _may_stand(name, value)}}
        for name, value in self._given.items():
            if name in _KEPT_HERE or filled.get(name) in _EMPTY:
                filled[name] = value
        filled |= self._asked
        if self._names:
            filled |= self._own_names(filled)
        filled["store"] = self._stores
        filled["id"] = filled.get("id") or self._identify("resp")
        filled.setdefault("created_at", int(self._clock()))
        output = filled["output"] if isinstance(filled["output"], list) else []
        filled["output"] = [self._whole_item(item) for item in output if isinstance(item, dict)]
        if isinstance(filled.get("usage"), dict):
            filled["usage"] = _whole_usage(filled["usage"])
        if isinstance(filled.get("text"), dict):
            filled["text"] = _whole_text(filled["text"])
        return filled

    def failed(self, response: Json, error: Json) -> Json:
        """The Response object of an answer that failed on the way."""
        return {**self.whole(response), "status": "failed", "error": error}

    def _whole_item(self, item: Json) -> Json:
        kind = str(item.get("type"))
        if kind not in _BLANK_ITEMS:
            return item
        # The Codex CLI writes ``"content": null`` into reasoning items, the schema knows no such thing.
        filled = {**_BLANK_ITEMS[kind], **{name: value for name, value in item.items() if value is not None}}
        filled["id"] = filled.get("id") or self._identify(_PREFIXES[kind])
        if kind in CALL_FIELDS:
            filled[CALL_FIELDS[kind]] = as_text(filled[CALL_FIELDS[kind]])
        if isinstance(filled.get("content"), list):
            filled["content"] = [_whole_part(part) for part in filled["content"] if isinstance(part, dict)]
        return filled


def _impersonal(event: Event) -> Event:
    data, error = event.data, event.data.get("error")
    told = impersonal_error(data)
    if isinstance(error, dict) and (inner := impersonal_error(error)) is not error:
        told = {**told, "error": inner}
    return event if told is data else Event.of({**told, "type": event.type})


def _asked(turn: Turn) -> Json:
    # Only what the caller said himself: a frame is touched for nothing less.
    options, storage = ResponsesRenderOptions.of(turn), turn.storage
    given = options.given
    asked: Json = {"model": turn.model, **{name: given.get(name) for name in _CALLERS}}
    asked |= {name: given[name] for name in options.fitted if name in given}
    kept_here: Json = {
        "previous_response_id": storage.previous_response_id,
        "metadata": options.metadata,
        "store": storage.store,
        "background": storage.background,
        "id": storage.response_id,
    }
    return asked | {name: value for name, value in kept_here.items() if value}


def _may_stand(name: str, value: Any) -> bool:
    return value is not None or name not in _NEVER_NULL


def _whole_part(part: Json) -> Json:
    return {**_BLANK_PARTS.get(str(part.get("type")), {}), **part}


def _whole_text(text: Json) -> Json:
    # Real traffic has ``description: null`` in a schema's format, the public schema never.
    form = text.get("format")
    if not isinstance(form, dict):
        return text
    return {**text, "format": {name: value for name, value in form.items() if value is not None or name == "strict"}}


def _whole_usage(usage: Json) -> Json:
    inputs, outputs = whole(usage.get("input_tokens")), whole(usage.get("output_tokens"))
    return {
        **usage,
        "input_tokens": inputs,
        "input_tokens_details": {
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            **_details(usage, "input_tokens_details"),
        },
        "output_tokens": outputs,
        "output_tokens_details": {"reasoning_tokens": 0, **_details(usage, "output_tokens_details")},
        "total_tokens": whole(usage.get("total_tokens")) or inputs + outputs,
    }


def _details(usage: Json, name: str) -> Json:
    value = usage.get(name)
    parts = value.items() if isinstance(value, dict) else ()
    return {part: whole(count) if isinstance(count, int | float) else count for part, count in parts}
