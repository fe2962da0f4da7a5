"""Events folded into the final Response object.

The backend may leave ``response.completed.output`` empty although items were
streamed (docs/reference/stream.md#empty-final-output), so the items are collected on the way: from
``output_item.done``, else from ``output_item.added`` and its deltas.
"""

from collections.abc import Callable
from typing import Any

from codexproxy.protocol.events import Batch, key_of
from codexproxy.protocol.item_tracker import Places

Item = dict[str, Any]


class Fold:
    """Collects a stream's output items and gives the final Response object."""

    def __init__(self) -> None:
        self._items: dict[int, Item] = {}
        self._next = 0
        # Pieces of the texts that grow, by the object that holds each and its field; joined when somebody reads.
        self._growing: dict[tuple[int, str], tuple[Item, list[str]]] = {}
        self._done: set[int] = set()
        self._indexes: dict[str | None, int] = {}
        self._places = Places()
        self._response: dict[str, Any] = {}

    def add(self, batch: Batch) -> None:
        """Takes the next events of the stream."""
        for event in batch:
            fold = _FOLDS.get(event.type)
            if fold is not None:
                carries_response = fold is Fold._keep_response
                fold(self, (event if carries_response else self._places.placed(event)).data)

    def response(self) -> dict[str, Any]:
        """The Response object, its ``output`` rebuilt where upstream left it empty.

        Everything known so far; complete once the terminal event was added.
        """
        self._join()
        response = dict(self._response)
        if not isinstance(response.get("output"), list) or not response["output"]:
            response["output"] = [item for _, item in sorted(self._items.items())]
        return response

    @property
    def status(self) -> str | None:
        """The response's status, as far as it was told."""
        status = self._response.get("status")
        return status if isinstance(status, str) else None

    @property
    def has_id(self) -> bool:
        """Whether the response's id was told."""
        return bool(self._response.get("id"))

    def _join(self) -> None:
        for (_, field), (holder, pieces) in self._growing.items():
            holder[field] = "".join([_text(holder, field), *pieces])
        self._growing.clear()

    def _extend(self, holder: Item, field: str, delta: str) -> None:
        if delta or field not in holder:
            self._growing.setdefault((id(holder), field), (holder, []))[1].append(delta)

    def _replace(self, holder: Item, field: str, whole: Any) -> None:
        self._growing.pop((id(holder), field), None)
        holder[field] = whole

    def _keep_response(self, data: dict[str, Any]) -> None:
        response = data.get("response")
        if isinstance(response, dict):
            self._response = {**self._response, **response}

    def _keep_item(self, data: dict[str, Any], done: bool = False) -> None:
        item = data.get("item")
        if isinstance(item, dict):
            index = self._index(data)
            self._put(index, _copy(item))
            if done:
                self._done.add(index)

    def _open_item(self, data: dict[str, Any]) -> Item | None:
        # What still comes for an item after its ``done`` is not part of it.
        index = self._index(data)
        if index in self._done:
            return None
        if index not in self._items:
            self._put(index, {"type": "message", "role": "assistant", "content": []})
        return self._items[index]

    def _put(self, index: int, item: Item) -> None:
        self._items[index] = item
        self._next = max(self._next, index + 1)

    def _index(self, data: dict[str, Any]) -> int:
        key = key_of(data)
        if isinstance(key, int):
            return key
        return self._indexes.setdefault(key, self._next)

    def _keep_part(self, data: dict[str, Any], holder: str, position: str) -> None:
        part, item = data.get("part"), self._open_item(data)
        if isinstance(part, dict) and item is not None:
            _place(_list_in(item, holder), data.get(position), dict(part))

    def _grow(self, data: dict[str, Any], field: str) -> None:
        item = self._open_item(data)
        if item is not None:
            self._extend(item, field, _delta(data))

    def _settle(self, data: dict[str, Any], field: str) -> None:
        item = self._open_item(data)
        if item is not None and data.get(field):
            self._replace(item, field, data[field])

    def _grow_part(self, data: dict[str, Any], holder: str, blank: Item) -> None:
        part, field = self._open_part(data, holder, blank), _field(blank)
        if part is not None:
            self._extend(part, field, _delta(data))

    def _settle_part(self, data: dict[str, Any], holder: str, blank: Item) -> None:
        part, field = self._open_part(data, holder, blank), _field(blank)
        if part is not None and data.get(field):
            self._replace(part, field, data[field])

    def _annotate(self, data: dict[str, Any]) -> None:
        part, annotation = self._open_part(data, "content", _TEXT), data.get("annotation")
        if part is not None and isinstance(annotation, dict):
            _list_in(part, "annotations").append(annotation)

    def _open_part(self, data: dict[str, Any], holder: str, blank: Item) -> Item | None:
        item = self._open_item(data)
        position = data.get("content_index", data.get("summary_index"))
        return None if item is None else _part_at(_list_in(item, holder), position, blank)


def _text(holder: Item, field: str) -> str:
    return str(holder.get(field) or "")


def _delta(data: dict[str, Any]) -> str:
    delta = data.get("delta")
    return delta if isinstance(delta, str) else ""


def _field(blank: Item) -> str:
    return "refusal" if "refusal" in blank else "text"


def _copy(item: Item) -> Item:
    # Two levels deep, since the event keeps its own; texts grow in the copy.
    return {
        key: [dict(part) if isinstance(part, dict) else part for part in value] if isinstance(value, list) else value
        for key, value in item.items()
    }


def _list_in(item: Item, holder: str) -> list[Item]:
    # Reasoning items carry ``"content": null``.
    parts = item.get(holder)
    if not isinstance(parts, list):
        parts = item[holder] = []
    return parts


def _place(parts: list[Item], index: Any, part: Item) -> None:
    if isinstance(index, int) and 0 <= index < len(parts):
        parts[index] = part
    else:
        parts.append(part)


def _part_at(parts: list[Item], index: Any, blank: Item) -> Item:
    wanted = index if isinstance(index, int) and index >= 0 else 0
    if wanted >= len(parts):
        parts.append(_copy(blank))
        return parts[-1]
    if not isinstance(parts[wanted], dict):
        parts[wanted] = _copy(blank)
    return parts[wanted]


_TEXT: Item = {"type": "output_text", "text": "", "annotations": []}
_REFUSAL: Item = {"type": "refusal", "refusal": ""}
_SUMMARY: Item = {"type": "summary_text", "text": ""}
_REASONING: Item = {"type": "reasoning_text", "text": ""}

_FOLDS: dict[str, Callable[[Fold, dict[str, Any]], None]] = {
    "response.created": Fold._keep_response,
    "response.queued": Fold._keep_response,
    "response.in_progress": Fold._keep_response,
    "response.completed": Fold._keep_response,
    "response.done": Fold._keep_response,
    "response.incomplete": Fold._keep_response,
    "response.failed": Fold._keep_response,
    "response.output_item.added": Fold._keep_item,
    "response.output_item.done": lambda fold, data: fold._keep_item(data, done=True),
    "response.output_text.annotation.added": lambda fold, data: fold._annotate(data),
    "response.content_part.added": lambda fold, data: fold._keep_part(data, "content", "content_index"),
    "response.content_part.done": lambda fold, data: fold._keep_part(data, "content", "content_index"),
    "response.reasoning_summary_part.added": lambda fold, data: fold._keep_part(data, "summary", "summary_index"),
    "response.reasoning_summary_part.done": lambda fold, data: fold._keep_part(data, "summary", "summary_index"),
    "response.output_text.delta": lambda fold, data: fold._grow_part(data, "content", _TEXT),
    "response.refusal.delta": lambda fold, data: fold._grow_part(data, "content", _REFUSAL),
    "response.reasoning_text.delta": lambda fold, data: fold._grow_part(data, "content", _REASONING),
    "response.reasoning_summary_text.delta": lambda fold, data: fold._grow_part(data, "summary", _SUMMARY),
    "response.output_text.done": lambda fold, data: fold._settle_part(data, "content", _TEXT),
    "response.refusal.done": lambda fold, data: fold._settle_part(data, "content", _REFUSAL),
    "response.reasoning_text.done": lambda fold, data: fold._settle_part(data, "content", _REASONING),
    "response.reasoning_summary_text.done": lambda fold, data: fold._settle_part(data, "summary", _SUMMARY),
    "response.function_call_arguments.done": lambda fold, data: fold._settle(data, "arguments"),
    "response.custom_tool_call_input.done": lambda fold, data: fold._settle(data, "input"),
    "response.function_call_arguments.delta": lambda fold, data: fold._grow(data, "arguments"),
    "response.custom_tool_call_input.delta": lambda fold, data: fold._grow(data, "input"),
}

# The types a whole answer can be rebuilt from: every item is told again when it is done.
STRUCTURE = frozenset(type for type in _FOLDS if not type.endswith(".delta"))


def fold(batches: list[Batch]) -> dict[str, Any]:
    """The final Response object of a whole stream."""
    folded = Fold()
    for batch in batches:
        folded.add(batch)
    return folded.response()


def is_lost(response: dict[str, Any]) -> bool:
    """Whether a completed answer holds nothing, or took tokens for words that never came.

    See docs/reference/clients.md#empty-answers.

    Items of hosted and client-side tools are an answer by themselves, and so
    is mere thinking; so are items without words for which tokens were spent.
    """
    output, usage = response.get("output"), response.get("usage")
    items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
    spent = isinstance(usage, dict) and usage.get("output_tokens")
    if any(_says_something(item) or (spent and item.get("status") != "in_progress") for item in items):
        return False
    # An answer that was cut here (compat/truncate/truncator.py) may be cut before its first word.
    is_cut = isinstance(usage, dict) and usage.get("estimated") is True
    return not (is_cut or is_all_thought(usage))


def _says_something(item: Item) -> bool:
    if item.get("type") not in ("message", "reasoning"):
        return True
    parts = [part for holder in ("content", "summary") if isinstance(item.get(holder), list) for part in item[holder]]
    return any(part.get("text") or part.get("refusal") for part in parts if isinstance(part, dict))


def is_all_thought(usage: Any) -> bool:
    """Whether tokens were spent, and every one of them on reasoning."""
    if not isinstance(usage, dict):
        return False
    details = usage.get("output_tokens_details")
    spent, thought = usage.get("output_tokens"), details.get("reasoning_tokens") if isinstance(details, dict) else None
    return isinstance(spent, int) and isinstance(thought, int) and 0 < spent <= thought
