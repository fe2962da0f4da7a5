"""A request that leans on stored responses, made whole. Pure.

The backend keeps nothing (COMPAT.md U12, U13), so what ``previous_response_id``
and ``item_reference`` stand for is put into the input before a turn is planned.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from codexproxy.errors import InvalidRequest
from codexproxy.turns.turn import Turn

Item = dict[str, Any]

PREVIOUS = "previous_response_id"
REFERENCE = "item_reference"

# Option that holds the request's own items, without those it continues; they are what is stored.
OWN_INPUT = "own_input"

# What can be continued, and why the rest cannot.
_CONTINUED = frozenset({"completed", "incomplete"})
_WHY_NOT = {
    "queued": "is still being made. Please wait until it is completed",
    "in_progress": "is still being made. Please wait until it is completed",
    "failed": "failed. Please continue the one before it",
    "cancelled": "was cancelled. Please continue the one before it",
}
_WAY_OUT = "Please send the whole conversation as 'input' instead."

# Fields that only tell how an item was made; the real client does not send them back (UPSTREAM.md §3.5).
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


class Past(Protocol):
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


class Memory(Protocol):
    """What is stored of one caller's conversations."""

    def history(self, id: str) -> Past | None:
        """The conversation up to a response, None when there is none."""

    def items(self, ids: Sequence[str]) -> Mapping[str, Item]:
        """Stored items by their ids; unknown ids are absent."""


def continued(turn: Turn, memory: Memory) -> Turn:
    """The turn with the whole conversation as its input.

    An item that the continued conversation holds already is not repeated,
    whether the caller refers to it or sends it again.

    Raises:
        InvalidRequest: What the request refers to is not stored, or cannot be continued.
    """
    past = _past(turn.options.get(PREVIOUS), memory)
    given = turn.body["input"]
    known = {item["id"] for item in past if isinstance(item.get("id"), str)}
    fresh = [(position, item) for position, item in enumerate(given) if not _is_known(item, known)]
    own = _resolved(fresh, memory)
    turn = replace(
        turn,
        body={**turn.body, "input": [replayed(item) for item in past] + own},
        options={**turn.options, OWN_INPUT: own},
    )
    repeated = len(given) - len(own)
    return turn.with_notes(adapted=(f"repeated_items={repeated}",)) if repeated else turn


def replayed(item: Item) -> Item:
    """A stored item as it is sent upstream again."""
    dropped = _TOLD.get(str(item.get("type")))
    if dropped is None:
        return item
    kept = {name: value for name, value in item.items() if name not in dropped}
    if isinstance(kept.get("content"), list):
        kept["content"] = [_replayed_part(part) for part in kept["content"]]
    return kept


def identified(items: Sequence[Item], identify: Callable[[str], str]) -> list[Item]:
    """The items, each with an id, so that they can be listed and referred to.

    Args:
        items: Items of a request.
        identify: Makes an id from a prefix, ``msg``.
    """
    return [
        item if item.get("id") else {**item, "id": identify(_PREFIXES.get(str(item.get("type")), "item"))}
        for item in items
    ]


def _past(id: str | None, memory: Memory) -> list[Item]:
    if id is None:
        return []
    past = memory.history(id)
    if past is None:
        raise _not_found(f"Previous response with id '{id}' not found. {_WAY_OUT}")
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


def _resolved(placed: list[tuple[int, Item]], memory: Memory) -> list[Item]:
    wanted = [item["id"] for _, item in placed if item.get("type") == REFERENCE]
    if not wanted:
        return [item for _, item in placed]
    found = memory.items(wanted)
    return [_referred(item, position, found) for position, item in placed]


def _referred(item: Item, position: int, found: Mapping[str, Item]) -> Item:
    if item.get("type") != REFERENCE:
        return item
    stored = found.get(item["id"])
    if stored is None:
        raise InvalidRequest(
            f"Item with id '{item['id']}' not found. Only items of stored responses can be referred to; "
            "please send the item itself.",
            code="item_not_found",
            param=f"input[{position}].id",
        )
    return replayed(stored)


def _replayed_part(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    return {name: value for name, value in part.items() if name not in _TOLD_OF_PARTS}
