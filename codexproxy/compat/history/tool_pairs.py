"""Pairs tool calls with their outputs; upstream refuses one without the other.

See docs/reference/requests.md#pairs-of-calls-and-outputs.
"""

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from codexproxy.protocol.events import encode_json
from codexproxy.protocol.pacing import STRIDE, Pause, no_pause, paced

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


def match_tool_outputs(items: list[Any], note: Note, pause: Pause = no_pause) -> list[Any]:
    """The items with every call answered once, after it, and every output answering a call.

    Outputs that answer nothing become labelled user messages; calls without an
    output get one that says so; calls without an id, or with one that another
    call has, get one of their own, the same in every turn of the conversation.
    """
    calls = _calls(items, pause)
    outputs = {position: item for position, item in enumerate(paced(items, pause)) if _kind(item) in _ANSWERS}
    if not calls and not outputs:
        return items
    answered = _match(calls, outputs, note, pause)
    _give_ids(calls, note, pause)
    paired: list[Any] = []
    by_position = {call.position: call for call in calls}
    for position, item in enumerate(paced(items, pause)):
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


def _calls(items: list[Any], pause: Pause) -> list[_Call]:
    # A message between two calls parts two rounds of calling.
    calls, round = [], 0
    for position, item in enumerate(paced(items, pause)):
        if _kind(item) in OUTPUTS:
            calls.append(_Call(item, position, round))
        elif _kind(item) == "message":
            round += 1
    return calls


def _match(calls: list[_Call], outputs: dict[int, Item], note: Note, pause: Pause) -> dict[int, _Call]:
    answered: dict[int, _Call] = {}
    for find, told in _FINDERS:
        waiting = [call for call in calls if call.output is None]
        left = {position: output for position, output in outputs.items() if position not in answered}
        for count, (position, call) in enumerate(find(paced(waiting, pause), left) if waiting and left else ()):
            if count % STRIDE == STRIDE - 1:
                pause()
            call.output, answered[position] = position, call
            note([told] if told else [])
    return answered


# Each finder goes once through the calls and once through the outputs, in the order of the conversation:
# what a later output may have is found without looking at the same call twice.
_Found = Iterator[tuple[int, _Call]]


def _before(waiting: Iterable[_Call], outputs: dict[int, Item]) -> _Found:
    # Ids may be used again by later rounds: the latest round that waits is meant, in it the first call.
    rounds: defaultdict[tuple[str, str], list[deque[_Call]]] = defaultdict(list)
    coming = deque(waiting)
    for position, output in outputs.items():
        while coming and coming[0].position < position:
            call = coming.popleft()
            held = rounds[_id_of(call.item), _sort(call.answer_type)]
            if held and held[-1][0].round == call.round:
                held[-1].append(call)
            else:
                held.append(deque([call]))
        id = _id_of(output)
        held = rounds[id, _sort(output["type"])] if id else []
        if held:
            yield position, held[-1].popleft()
            if not held[-1]:
                held.pop()


def _after(waiting: Iterable[_Call], outputs: dict[int, Item]) -> _Found:
    later: defaultdict[tuple[str, str], deque[_Call]] = defaultdict(deque)
    for call in waiting:
        later[_id_of(call.item), _sort(call.answer_type)].append(call)
    for position, output in outputs.items():
        id = _id_of(output)
        held = later[id, _sort(output["type"])] if id else deque[_Call]()
        while held and held[0].position < position:
            held.popleft()
        if held:
            yield position, held.popleft()


def _any_before(waiting: Iterable[_Call], outputs: dict[int, Item]) -> _Found:
    by_sort: defaultdict[str, deque[_Call]] = defaultdict(deque)
    for call in waiting:
        by_sort[_sort(call.answer_type)].append(call)
    for position, output in outputs.items():
        held = by_sort[_sort(output["type"])] if not _id_of(output) else deque[_Call]()
        if held and held[0].position < position:
            yield position, held.popleft()


_FINDERS: tuple[tuple[Callable[[Iterable[_Call], dict[int, Item]], _Found], str], ...] = (
    (_before, ""),
    (_after, "output_before_call"),
    (_any_before, "missing_call_id"),
)


def _sort(answer_type: str) -> str:
    return "" if answer_type in _PLAIN else answer_type


def _id_of(item: Item) -> str:
    id = item.get("call_id")
    return id if isinstance(id, str) else ""


def _give_ids(calls: list[_Call], note: Note, pause: Pause) -> None:
    taken: set[str] = set()
    counts: defaultdict[bytes, int] = defaultdict(int)
    for call in paced(calls, pause):
        given = _id_of(call.item)
        call.id = given if len(given) <= MOST_ID_CHARACTERS else ""
        if call.id and call.id not in taken:
            taken.add(call.id)
            continue
        note(["duplicate_call_id" if call.id else "call_id"])
        call.id = _new_id(call, taken, counts)
        taken.add(call.id)


def _new_id(call: _Call, taken: set[str], counts: dict[bytes, int]) -> str:
    seed = encode_json([call.item.get(key) for key in ("call_id", "name", "arguments", "input")])
    # Calls that are alike are counted, so that the thousandth does not try the ids of all others first.
    alike = hashlib.sha256(seed).digest()
    while True:
        id = "call_" + hashlib.sha256(seed + b"#%d" % counts[alike]).hexdigest()[:24]
        counts[alike] += 1
        if id not in taken:
            return id


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
