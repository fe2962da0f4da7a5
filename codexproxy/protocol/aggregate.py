"""Aggregates the events of a stream into the Response object of its answer.

The backend may leave ``response.completed.output`` empty although items were
streamed (docs/reference/stream.md#empty-final-output), so the items are
collected on the way: from ``output_item.done``, else from
``output_item.added`` and its deltas.
"""

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from codexproxy.errors import UpstreamFailed
from codexproxy.protocol.events import Batch, Event, item_key
from codexproxy.protocol.item_tracker import ADDED, DONE, ItemTracker, Key

Item = dict[str, Any]

# Deltas that wait unread; a longer text is known again only when its item is done.
MOST_DELTAS = 20_000

_type = attrgetter("type")


class ResponseAggregator:
    """Collects a stream's output items and gives the Response object.

    Callers that need the answer in any case use ``add``. A stream that passes
    frames on uses ``defer``: its events stay unread until ``response`` is
    called, and the deltas of finished items are dropped.
    """

    def __init__(self) -> None:
        self._tracker = ItemTracker()
        self._items: dict[int, Item] = {}
        self._done: set[int] = set()
        self._next = 0
        self._indexes: dict[Key | None, int] = {}
        self._response: Item = {}
        # Pieces of the texts that grow, by the object that holds each and its field; joined when they are asked for.
        self._growing: dict[tuple[int, str], tuple[Item, list[str]]] = {}
        # What the next delta of the same text says of its place, and the pieces that it extends.
        self._current: tuple[Any, ...] = ()
        self._pieces: list[str] = []
        # Deferred events: those that stay, and those since deltas were dropped last.
        self._kept: Batch = []
        self._fresh: Batch = []
        self._deltas = 0
        self._open = 0
        self._broken: UpstreamFailed | None = None

    def add(self, batch: Iterable[Event]) -> None:
        """Takes the next events of the stream.

        Raises:
            UpstreamFailed: One of the events is not JSON.
        """
        for event in batch:
            if event.type in _CARRIERS:
                self._keep_response(event.data)
            handling = _HANDLERS.get(event.type)
            if handling is None:
                continue
            data = event.data
            delta, index = data.get("delta"), data.get("output_index")
            place = (event.type, index, data.get("content_index"), data.get("summary_index"))
            # Nearly every delta is one more of the same text.
            if place == self._current and type(delta) is str:
                self._pieces.append(delta)
                continue
            self._current, self._pieces = (), []
            handle, *arguments = handling
            handle(self, self._tracker.resolve(event).data, *arguments)
            # A place without an index has to be resolved each time.
            if self._pieces and isinstance(index, int):
                self._current = place

    def defer(self, batch: Batch) -> None:
        """Takes the next events of a stream without reading them."""
        if STRUCTURE.isdisjoint(map(_type, batch)):
            self._defer_deltas(batch)
            return
        for event in batch:
            if event.type in STRUCTURE:
                self._fresh.append(event)
                self._follow(event.type)
            else:
                self._defer_deltas([event])

    def response(self) -> dict[str, Any]:
        """The Response object as far as it is known; complete once the terminal event was taken.

        Its ``output`` is built from the items where upstream left it empty.

        Raises:
            UpstreamFailed: One of the deferred events is not JSON.
        """
        self._read_deferred()
        response = dict(self._response)
        if not isinstance(response.get("output"), list) or not response["output"]:
            response["output"] = self._output()
        return response

    def knows(self, data: dict[str, Any]) -> bool:
        """Whether the item that an event belongs to was announced, or has a text.

        Args:
            data: The event's data, with the place of its item.
        """
        return self._index(data) in self._items

    def item(self, data: dict[str, Any]) -> Item:
        """The item that an event belongs to, with its texts so far; a blank message where none was announced.

        Args:
            data: The event's data, with the place of its item.
        """
        self._join()
        index = self._index(data)
        if index not in self._items:
            self._put(index, _copy(_MESSAGE))
        return self._items[index]

    def ended(self, status: str, usage: dict[str, Any]) -> dict[str, Any]:
        """The Response object of an answer that ends here, whatever upstream says of it later.

        Args:
            status: ``completed`` or ``incomplete``.
            usage: The usage to report.
        """
        details = {"reason": "max_output_tokens"} if status == "incomplete" else None
        told = {"status": status, "output": self._output(), "incomplete_details": details, "usage": usage}
        return {**self._response, **told}

    @property
    def status(self) -> str | None:
        """The response's status; None while upstream did not say it."""
        status = self._response.get("status")
        return status if isinstance(status, str) else None

    @property
    def has_id(self) -> bool:
        """Whether the response's id is known."""
        return bool(self._response.get("id"))

    # -- deferred events --------------------------------------------------------------

    def _defer_deltas(self, batch: Batch) -> None:
        fits = self._deltas <= MOST_DELTAS
        self._deltas += len(batch)
        if self._deltas <= MOST_DELTAS:
            self._fresh += batch
        elif fits:
            self._drop_deltas()

    def _follow(self, type: str) -> None:
        if type == ADDED:
            self._open += 1
        elif type == DONE:
            self._open = max(0, self._open - 1)
            if self._deltas and not self._open:
                self._drop_deltas()
                self._deltas = 0

    def _drop_deltas(self) -> None:
        self._kept += [event for event in self._fresh if event.type in STRUCTURE]
        self._fresh = []

    def _read_deferred(self) -> None:
        if self._broken is not None:
            raise self._broken
        deferred, self._kept, self._fresh = [*self._kept, *self._fresh], [], []
        try:
            self.add(deferred)
        except UpstreamFailed as error:
            self._broken = error
            raise

    # -- items --------------------------------------------------------------------------

    def _output(self) -> list[Item]:
        self._join()
        return [item for _, item in sorted(self._items.items())]

    def _join(self) -> None:
        for (_, field), (holder, pieces) in self._growing.items():
            holder[field] = "".join([_text(holder, field), *pieces])
        self._growing.clear()
        self._current = ()

    def _extend(self, holder: Item, field: str, delta: str) -> None:
        if delta or field not in holder:
            self._pieces = self._growing.setdefault((id(holder), field), (holder, []))[1]
            self._pieces.append(delta)

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
            self._put(index, _copy(_MESSAGE))
        return self._items[index]

    def _put(self, index: int, item: Item) -> None:
        self._items[index] = item
        self._next = max(self._next, index + 1)

    def _index(self, data: dict[str, Any]) -> int:
        key = item_key(data)
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


_MESSAGE: Item = {"type": "message", "role": "assistant", "content": []}
_TEXT: Item = {"type": "output_text", "text": "", "annotations": []}
_REFUSAL: Item = {"type": "refusal", "refusal": ""}
_SUMMARY: Item = {"type": "summary_text", "text": ""}
_REASONING: Item = {"type": "reasoning_text", "text": ""}

# Events that carry a Response object.
_CARRIERS = frozenset(
    {
        *("response.created", "response.queued", "response.in_progress"),
        *("response.completed", "response.done", "response.incomplete", "response.failed"),
    }
)
# Event type -> the method that takes the event's data, and its further arguments.
_HANDLERS: dict[str, tuple[Any, ...]] = {
    ADDED: (ResponseAggregator._keep_item,),
    DONE: (ResponseAggregator._keep_item, True),
    "response.output_text.annotation.added": (ResponseAggregator._annotate,),
    "response.content_part.added": (ResponseAggregator._keep_part, "content", "content_index"),
    "response.content_part.done": (ResponseAggregator._keep_part, "content", "content_index"),
    "response.reasoning_summary_part.added": (ResponseAggregator._keep_part, "summary", "summary_index"),
    "response.reasoning_summary_part.done": (ResponseAggregator._keep_part, "summary", "summary_index"),
    "response.output_text.delta": (ResponseAggregator._grow_part, "content", _TEXT),
    "response.refusal.delta": (ResponseAggregator._grow_part, "content", _REFUSAL),
    "response.reasoning_text.delta": (ResponseAggregator._grow_part, "content", _REASONING),
    "response.reasoning_summary_text.delta": (ResponseAggregator._grow_part, "summary", _SUMMARY),
    "response.output_text.done": (ResponseAggregator._settle_part, "content", _TEXT),
    "response.refusal.done": (ResponseAggregator._settle_part, "content", _REFUSAL),
    "response.reasoning_text.done": (ResponseAggregator._settle_part, "content", _REASONING),
    "response.reasoning_summary_text.done": (ResponseAggregator._settle_part, "summary", _SUMMARY),
    "response.function_call_arguments.delta": (ResponseAggregator._grow, "arguments"),
    "response.custom_tool_call_input.delta": (ResponseAggregator._grow, "input"),
    "response.function_call_arguments.done": (ResponseAggregator._settle, "arguments"),
    "response.custom_tool_call_input.done": (ResponseAggregator._settle, "input"),
}

# The types a whole answer can be rebuilt from: every item comes again when it is done.
STRUCTURE = _CARRIERS.union(type for type in _HANDLERS if not type.endswith(".delta"))


def aggregate(batches: Iterable[Batch]) -> dict[str, Any]:
    """The final Response object of a whole stream."""
    answer = ResponseAggregator()
    for batch in batches:
        answer.add(batch)
    return answer.response()


def is_missing_output(response: dict[str, Any]) -> bool:
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
    return not (is_cut or is_reasoning_only(usage))


def _says_something(item: Item) -> bool:
    if item.get("type") not in ("message", "reasoning"):
        return True
    parts = [part for holder in ("content", "summary") if isinstance(item.get(holder), list) for part in item[holder]]
    return any(part.get("text") or part.get("refusal") for part in parts if isinstance(part, dict))


def is_reasoning_only(usage: Any) -> bool:
    """Whether tokens were spent, and every one of them on reasoning."""
    if not isinstance(usage, dict):
        return False
    details = usage.get("output_tokens_details")
    spent, thought = usage.get("output_tokens"), details.get("reasoning_tokens") if isinstance(details, dict) else None
    return isinstance(spent, int) and isinstance(thought, int) and 0 < spent <= thought
