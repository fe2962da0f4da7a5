"""Mends a conversation so that upstream takes it.

See docs/reference/errors.md#gateway-refusals and docs/reference/requests.md#pairs-of-calls-and-outputs.

What upstream would refuse is repaired in place, and every kind of repair is
told once with its count. Item types that are not known here pass untouched.
A conversation that needs nothing comes back as it was, item for item.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from codexproxy.compat.history.sanitize import Note, is_plain, mend_message, mend_output, strip_hints
from codexproxy.compat.history.tool_pairs import pair
from codexproxy.protocol.pacing import Pause, no_pause, paced

Item = dict[str, Any]

# Item types whose ids upstream checks; a wrong id is dropped, since none is needed.
ID_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "web_search_call": "ws",
}


def repair(items: list[Any], pause: Pause = no_pause) -> tuple[list[Any], list[str]]:
    """The mended items, and a note per kind of repair.

    Call it when the conversation is whole: what a ``previous_response_id``
    stands for must be in it already, else its calls look missing.

    Args:
        items: ``input`` of a Responses request.
        pause: Lets others run, now and then.

    Returns:
        The items, and notes like ``orphan_output=2``.
    """
    if all(isinstance(item, dict) and is_plain(item) for item in paced(items, pause)):
        return items, []
    counts: Counter[str] = Counter()
    mended = [item for given in paced(items, pause) for item in _mend(given, counts.update, pause)]
    paired = pair(mended, counts.update, pause)
    return paired, [f"{name}={count}" if count > 1 else name for name, count in counts.items()]


def _mend(item: Any, note: Note, pause: Pause) -> list[Any]:
    if not isinstance(item, dict) or is_plain(item):
        return [item]
    kind = item.get("type") or ("message" if "role" in item else None)
    item = strip_hints(_without_foreign_id(item, kind, note), note, pause)
    mender = _MENDERS.get(kind) if isinstance(kind, str) else None
    return mender(item, note, pause) if mender else [item]


def _without_foreign_id(item: Item, kind: Any, note: Note) -> Item:
    prefix, id = ID_PREFIXES.get(kind) if isinstance(kind, str) else None, item.get("id")
    if prefix is None or id is None or (isinstance(id, str) and id.startswith(prefix)):
        return item
    note(["foreign_id"])
    return {key: value for key, value in item.items() if key != "id"}


def _mend_reasoning(item: Item, note: Note, pause: Pause) -> list[Any]:
    # Nothing is stored upstream: without its ciphertext the item would be looked up and not found.
    if item.get("encrypted_content"):
        return [item]
    note(["reasoning_without_ciphertext"])
    return []


_MENDERS: dict[str, Callable[[Item, Note, Pause], list[Any]]] = {
    "message": mend_message,
    "reasoning": _mend_reasoning,
    "function_call_output": mend_output,
    "custom_tool_call_output": mend_output,
}
