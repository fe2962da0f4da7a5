"""Pairs tool calls with their outputs; upstream refuses one without the other (COMPAT.md U15)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from codexproxy.turns.events import encode_json

Item = dict[str, Any]
Note = Callable[[list[str]], None]

# Call -> the output that answers it.
OUTPUTS = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "local_shell_call": "local_shell_call_output",
    "shell_call": "shell_call_output",
    "apply_patch_call": "apply_patch_call_output",
}
_ANSWERS = frozenset(OUTPUTS.values())

# Outputs that differ in name only; chat has one kind of them for both kinds of calls.
_PLAIN = frozenset({"function_call_output", "custom_tool_call_output"})

NO_RESULT = "[no result: this tool call was never answered]"
_MISSING: dict[str, Item] = {
    "shell_call_output": {"output": [{"stdout": "", "stderr": NO_RESULT, "outcome": {"type": "timeout"}}]},
    "apply_patch_call_output": {"status": "failed", "output": NO_RESULT},
}

MOST_ID_CHARACTERS = 64


@dataclass(slots=True, eq=False)
class _Call:
    item: Item
    position: int
    round: int
    id: str = ""
    output: int | None = None

    @property
    def answer_type(self) -> str:
        return OUTPUTS[self.item["type"]]

    def takes(self, output: Item) -> bool:
        kind = output["type"]
        return self.output is None and (kind == self.answer_type or (kind in _PLAIN and self.answer_type in _PLAIN))


def pair(items: list[Any], note: Note) -> list[Any]:
    """The items with every call answered once, after it, and every output answering a call.

    Outputs that answer nothing become labelled user messages; calls without an
    output get one that says so; calls without an id, or with one that another
    call has, get one of their own, the same in every turn of the conversation.
    """
    calls = _calls(items)
    outputs = {position: item for position, item in enumerate(items) if _kind(item) in _ANSWERS}
    if not calls and not outputs:
        return items
    answered = _match(calls, outputs, note)
    _give_ids(calls, note)
    paired: list[Any] = []
    by_position = {call.position: call for call in calls}
    for position, item in enumerate(items):
        if position in by_position:
            paired += _called(by_position[position], items, note)
        elif position not in outputs:
            paired.append(item)
        elif position not in answered:
            note(["orphan_output"])
            paired.append(_as_message(item))
        elif answered[position].position < position:
            paired.append(_answer(answered[position], item, note))
    return paired


def _calls(items: list[Any]) -> list[_Call]:
    # A message between two calls parts two rounds of calling.
    calls, round = [], 0
    for position, item in enumerate(items):
        if _kind(item) in OUTPUTS:
            calls.append(_Call(item, position, round))
        elif _kind(item) == "message":
            round += 1
    return calls


def _match(calls: list[_Call], outputs: dict[int, Item], note: Note) -> dict[int, _Call]:
    by_id: dict[Any, list[_Call]] = {}
    for call in calls:
        by_id.setdefault(_id_of(call.item), []).append(call)
    answered: dict[int, _Call] = {}
    for find, told in _FINDERS:
        for position, output in outputs.items():
            if position in answered:
                continue
            id = _id_of(output)
            waiting = by_id.get(id, []) if id else calls
            found = find([call for call in waiting if call.takes(output)], id, position)
            if found is not None:
                found.output, answered[position] = position, found
                note([told] if told else [])
    return answered


def _before(waiting: list[_Call], id: str, position: int) -> _Call | None:
    # Ids may be used again by later rounds: the latest round that waits is meant, in it the first call.
    found = [call for call in waiting if id and call.position < position]
    return next((call for call in found if call.round == found[-1].round), None)


def _after(waiting: list[_Call], id: str, position: int) -> _Call | None:
    return next((call for call in waiting if id and call.position > position), None)


def _any_before(waiting: list[_Call], id: str, position: int) -> _Call | None:
    return next((call for call in waiting if not id and call.position < position), None)


_FINDERS: tuple[tuple[Callable[[list[_Call], str, int], _Call | None], str], ...] = (
    (_before, ""),
    (_after, "output_before_call"),
    (_any_before, "missing_call_id"),
)


def _id_of(item: Item) -> str:
    id = item.get("call_id")
    return id if isinstance(id, str) else ""


def _give_ids(calls: list[_Call], note: Note) -> None:
    taken: set[str] = set()
    for call in calls:
        given = _id_of(call.item)
        call.id = given if len(given) <= MOST_ID_CHARACTERS else ""
        if call.id and call.id not in taken:
            taken.add(call.id)
            continue
        note(["duplicate_call_id" if call.id else "call_id"])
        call.id = _new_id(call, taken)
        taken.add(call.id)


def _new_id(call: _Call, taken: set[str]) -> str:
    seed = encode_json([call.item.get(key) for key in ("call_id", "name", "arguments", "input")])
    count = 0
    while True:
        id = "call_" + hashlib.sha256(seed + b"#%d" % count).hexdigest()[:24]
        if id not in taken:
            return id
        count += 1


def _called(call: _Call, items: list[Any], note: Note) -> list[Item]:
    item = call.item if call.item.get("call_id") == call.id else {**call.item, "call_id": call.id}
    if call.output is None:
        note(["orphan_call"])
        missing = _MISSING.get(call.answer_type, {"output": NO_RESULT})
        return [item, {"type": call.answer_type, "call_id": call.id, **missing}]
    if call.output < call.position:
        return [item, _answer(call, items[call.output], note)]
    return [item]


def _answer(call: _Call, output: Item, note: Note) -> Item:
    if output.get("call_id") == call.id and output["type"] == call.answer_type:
        return output
    if output["type"] != call.answer_type:
        note(["output_type"])
    return {**output, "type": call.answer_type, "call_id": call.id}


def _as_message(output: Item) -> Item:
    label = {
        "type": "input_text",
        "text": f"[Result of a tool call that is not in this conversation ({_label(output)}):]",
    }
    result = output.get("output")
    if isinstance(result, list) and all(_kind(part).startswith("input_") for part in result):
        parts = result
    else:
        parts = [{"type": "input_text", "text": result if isinstance(result, str) else encode_json(result).decode()}]
    return {"type": "message", "role": "user", "content": [label, *parts]}


def _label(output: Item) -> str:
    id = output.get("call_id")
    return str(id)[:MOST_ID_CHARACTERS] if id else "no id"


def _kind(item: Any) -> str:
    kind = item.get("type") if isinstance(item, dict) else None
    return kind if isinstance(kind, str) else ""
