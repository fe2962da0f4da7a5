"""A request that leans on stored responses, made whole. Pure.

The backend keeps nothing (docs/reference/requests.md#nothing-is-persisted), so what ``previous_response_id``
and ``item_reference`` stand for is put into the input before a turn is planned.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from codexproxy.errors import BodyTooLarge, InvalidRequest
from codexproxy.protocol.pacing import Pause, no_pause, paced
from codexproxy.protocol.request import LARGE, Turn, paused

Item = dict[str, Any]

PREVIOUS = "previous_response_id"
REFERENCE = "item_reference"

# What can be continued, and why the rest cannot.
_CONTINUED = frozenset({"completed", "incomplete"})
_WHY_NOT = {
    "queued": "is still being made. Please wait until it is completed",
    "in_progress": "is still being made. Please wait until it is completed",
    "failed": "failed. Please continue the one before it",
    "cancelled": "was cancelled. Please continue the one before it",
}
_WAY_OUT = "Please send the whole conversation as 'input' instead."

# Characters of an unknown id that a refusal repeats; ids have some 60.
_SHOWN = 200

# Fields that only tell how an item was made; the real client does not send them back
# (docs/reference/requests.md#tool-turns).
_TOLD = {
    "message": ("status",),
    "reasoning": ("status",),
    "function_call": ("status",),
    "custom_tool_call": ("status",),
}
_TOLD_OF_PARTS = ("logprobs",)

_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
}


class History(Protocol):
    """A conversation up to one response, oldest item first."""

    @property
    def input(self) -> list[Item]:
        """Items that led to the response."""

    @property
    def output(self) -> list[Item]:
        """Items of the response."""

    @property
    def status(self) -> str:
        """The response's status."""

    @property
    def lost(self) -> str | None:
        """Id of a response further back that is not kept any more."""


class HistorySource(Protocol):
    """What is stored of one caller's conversations."""

    def history(self, id: str) -> History | None:
        """The conversation up to a response, None when there is none."""

    def items(self, ids: Sequence[str]) -> Mapping[str, Item]:
        """Stored items by their ids; unknown ids are absent."""

    def history_size(self, id: str) -> int:
        """About how many bytes the conversation up to a response is; 0 when there is none."""

    def item_sizes(self, ids: Sequence[str]) -> Mapping[str, int]:
        """About how many bytes each of these items is; unknown ids are absent."""


def expand_history(turn: Turn, memory: HistorySource, most_bytes: int | None = None, pause: Pause = no_pause) -> Turn:
    """The turn with the whole conversation as its input.

    An item that the continued conversation holds already is not repeated,
    whether the caller refers to it or sends it again.

    Args:
        turn: A turn that may lean on what is stored.
        memory: What is stored of its caller's conversations.
        most_bytes: Most bytes that it may refer to, each item counted as often as it is named.
        pause: Lets others run, now and then.

    Raises:
        InvalidRequest: What the request refers to is not stored, or cannot be continued.
        BodyTooLarge: It refers to more than that; nothing of it was read.
    """
    size = 0 if most_bytes is None else _size(turn, memory, most_bytes, pause)
    past = _past(turn.storage.previous_response_id, memory)
    given = turn.body["input"]
    known = {item["id"] for item in past if isinstance(item.get("id"), str)}
    fresh = [(position, item) for position, item in enumerate(paced(given, pause)) if not _is_known(item, known)]
    own = _resolved(fresh, memory, pause)
    turn = paused(turn, pause) if size > LARGE else turn
    turn = replace(
        turn,
        body={**turn.body, "input": [as_input(item) for item in paced(past, pause)] + own},
        storage=replace(turn.storage, own_input=own),
    )
    repeated = len(given) - len(own)
    return turn.with_notes(adapted=(f"repeated_items={repeated}",)) if repeated else turn


def as_input(item: Item) -> Item:
    """A stored item as it is sent upstream again."""
    dropped = _TOLD.get(str(item.get("type")))
    if dropped is None:
        return item
    kept = {name: value for name, value in item.items() if name not in dropped}
    if isinstance(kept.get("content"), list):
        kept["content"] = [_replayed_part(part) for part in kept["content"]]
    return kept


def with_item_ids(items: Sequence[Item], identify: Callable[[str], str], pause: Pause = no_pause) -> list[Item]:
    """The items, each with an id, so that they can be listed and referred to.

    Args:
        items: Items of a request.
        identify: Makes an id from a prefix, ``msg``.
        pause: Lets others run, now and then.
    """
    return [
        item if item.get("id") else {**item, "id": identify(_PREFIXES.get(str(item.get("type")), "item"))}
        for item in paced(items, pause)
    ]


def _size(turn: Turn, memory: HistorySource, most: int, pause: Pause) -> int:
    # Contents are stored once and sent as often as they are named, so a small request can ask for gigabytes.
    previous = turn.storage.previous_response_id
    named = [item["id"] for item in paced(turn.body["input"], pause) if item.get("type") == REFERENCE]
    size = memory.history_size(previous) if previous is not None else 0
    sizes = memory.item_sizes(list(dict.fromkeys(named))) if named else {}
    size += sum(sizes.get(id, 0) for id in named)
    if size > most:
        raise BodyTooLarge(
            f"The conversation that this request continues is about {size} bytes, more than the {most} that a "
            "request may have (MAX_BODY_BYTES). Please continue a shorter conversation, or compact this one first.",
            param=PREVIOUS if not named else "input",
        )
    return size


def _past(id: str | None, memory: HistorySource) -> list[Item]:
    if id is None:
        return []
    past = memory.history(id)
    if past is None:
        raise _not_found(f"Previous response with id '{id[:_SHOWN]}' not found. {_WAY_OUT}")
    if past.lost is not None:
        raise _not_found(f"Previous response '{id}' continues '{past.lost}', which is not stored any more. {_WAY_OUT}")
    if past.status not in _CONTINUED:
        why = _WHY_NOT.get(past.status, "cannot be continued")
        raise InvalidRequest(f"Previous response '{id}' {why}.", param=PREVIOUS)
    return past.input + past.output


def _is_known(item: Item, known: set[str]) -> bool:
    id = item.get("id")
    return isinstance(id, str) and id in known


def _not_found(message: str) -> InvalidRequest:
    # Status and code as on the platform, since clients start afresh by this code.
    return InvalidRequest(message, code="previous_response_not_found", param=PREVIOUS)


def _resolved(placed: list[tuple[int, Item]], memory: HistorySource, pause: Pause) -> list[Item]:
    wanted = list(dict.fromkeys(item["id"] for _, item in placed if item.get("type") == REFERENCE))
    if not wanted:
        return [item for _, item in placed]
    found = memory.items(wanted)
    return [_referred(item, position, found) for position, item in paced(placed, pause)]


def _referred(item: Item, position: int, found: Mapping[str, Item]) -> Item:
    if item.get("type") != REFERENCE:
        return item
    stored = found.get(item["id"])
    if stored is None:
        raise InvalidRequest(
            f"Item with id '{item['id'][:_SHOWN]}' not found. Only items of stored responses can be referred to; "
            "please send the item itself.",
            code="item_not_found",
            param=f"input[{position}].id",
        )
    return as_input(stored)


def _replayed_part(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    return {name: value for name, value in part.items() if name not in _TOLD_OF_PARTS}
