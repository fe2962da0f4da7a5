"""Changes a conversation so that upstream accepts it. Pure.

See docs/reference/errors.md#gateway-refusals and docs/reference/requests.md#pairs-of-calls-and-outputs.

What upstream would refuse is changed in place, and every kind of change is
noted once with its count. Item types that are not known here pass untouched,
and a conversation that needs nothing comes back as it was, item for item.
Encrypted parts can be read by the account that wrote them only
(docs/reference/requests.md#encrypted-reasoning).
"""

import re
from collections import Counter
from collections.abc import Callable
from operator import is_
from typing import Any

from codexproxy.compat.history.tool_pairs import match_tool_outputs
from codexproxy.protocol.events import encode_json
from codexproxy.protocol.pacing import STRIDE, Pause, no_pause, paced
from codexproxy.protocol.request import Body

Item = dict[str, Any]
Note = Callable[[list[str]], None]

# Our own think text as clients send it back: at the start of an answer in the
# style ``think``, and the block that Open WebUI makes of reasoning (docs/reference/clients.md#open-webui).
# Sought one after the other, from tag to tag: one expression for all of it goes back over the text again and again.
_THINK = re.compile(r"<(think|thinking)>")
_DETAILS = re.compile(r"<details\b")
_OF_REASONING = re.compile(r"\btype=[\"']reasoning[\"']")
_END_OF_DETAILS = "</details>"
_BLANKS = re.compile(r"\s*")
# A longer tag is none that a client makes of reasoning.
_LONGEST_TAG = 4096

_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
_INPUT = frozenset({"input_text", "input_image", "input_file"})
_OUTPUT = frozenset({"output_text", "refusal"})
_SHOWN = frozenset({"input_image", "input_file"})
_HINT = "prompt_cache_breakpoint"


def is_plain(item: Item) -> bool:
    """Whether the item is a message of one text that needs no mending; most are, so this is asked first."""
    content = item.get("content")
    if "id" in item or type(content) is not list or len(content) != 1 or item.get("type", "message") != "message":
        return False
    part = content[0]
    if type(part) is not dict or len(part) != 2 or type(part.get("text")) is not str:
        return False
    if item.get("role") == "assistant":
        return part.get("type") == "output_text" and "<" not in part["text"]
    return part.get("type") == "input_text"


def sanitize_message(item: Item, note: Note, pause: Pause = no_pause) -> list[Any]:
    """A message whose parts suit its role; assistant history without think text."""
    content = item.get("content")
    if isinstance(content, str):
        return _mend_string(item, content, note, pause)
    if not isinstance(content, list):
        # Without content there is nothing to say.
        note(["empty_message"])
        return []
    if item.get("role") == "assistant":
        return _mend_assistant(item, content, note, pause)
    parts = [_suited(part, "input_text", _INPUT, note) for part in paced(content, pause)]
    return _with_parts(item, content, parts, note)


def _mend_string(item: Item, content: str, note: Note, pause: Pause) -> list[Any]:
    if item.get("role") != "assistant":
        return [item]
    kept = without_thoughts(content, pause)
    if kept == content:
        return [item]
    note(["think_text"])
    return [{**item, "content": kept}] if kept else []


def _mend_assistant(item: Item, content: list[Any], note: Note, pause: Pause) -> list[Any]:
    said = [part for part in paced(content, pause) if _type(part) not in _SHOWN]
    shown = [part for part in paced(content, pause) if _type(part) in _SHOWN] if len(said) < len(content) else []
    parts = [_without_thoughts(_suited(part, "output_text", _OUTPUT, note), note, pause) for part in paced(said, pause)]
    mended = _with_parts(item, content, [part for part in parts if part is not None], note) if said else []
    if not shown:
        return mended
    # An assistant's message holds text only; what it showed follows in a user's.
    note(["assistant_image"])
    label = {"type": "input_text", "text": "[Shown by the assistant:]"}
    return [*mended, {"type": "message", "role": "user", "content": [label, *shown]}]


def _with_parts(item: Item, content: list[Any], parts: list[Any], note: Note) -> list[Any]:
    if not parts:
        note(["empty_message"])
        return []
    return [item if _is_same(parts, content) else {**item, "content": parts}]


def _is_same(parts: list[Any], content: list[Any]) -> bool:
    return len(parts) == len(content) and all(map(is_, parts, content))


def _suited(part: Any, text_type: str, allowed: frozenset[str], note: Note) -> Any:
    kind = _type(part)
    if isinstance(part, str):
        note(["part_kind"])
        return {"type": text_type, "text": part}
    if kind in allowed or kind not in _TEXTS:
        return part
    note(["part_kind"])
    return {"type": text_type, "text": str(part.get(_TEXTS[kind]) or "")}


def _without_thoughts(part: Any, note: Note, pause: Pause) -> Any:
    text = part.get("text") if _type(part) == "output_text" else None
    if not isinstance(text, str):
        return part
    kept = without_thoughts(text, pause)
    if kept == text:
        return part
    note(["think_text"])
    return {**part, "text": kept} if kept else None


def without_thoughts(text: str, pause: Pause = no_pause) -> str:
    """Assistant text without the think text that precedes it, and without reasoning blocks."""
    if "<" not in text:
        return text
    return _without_details(_without_think(text), pause)


def _without_think(text: str) -> str:
    start = text.lstrip()
    found = _THINK.match(start)
    if found is None:
        return text
    _, tag, answer = start.partition(f"</{found[1]}>")
    return answer.lstrip() if tag else text


def _without_details(text: str, pause: Pause) -> str:
    kept: list[str] = []
    done = place = count = 0
    while found := _DETAILS.search(text, place):
        count += 1
        if count % STRIDE == 0:
            pause()
        place = text.find(">", found.end()) + 1
        if not place:
            break
        if not _OF_REASONING.search(text, found.end(), min(place, found.end() + _LONGEST_TAG)):
            continue
        end = text.find(_END_OF_DETAILS, place)
        if end < 0:
            break
        kept.append(text[done : found.start()])
        blanks = _BLANKS.match(text, end + len(_END_OF_DETAILS))
        done = place = blanks.end() if blanks else len(text)
    return "".join([*kept, text[done:]]) if kept else text


def sanitize_output(item: Item, note: Note, pause: Pause = no_pause) -> list[Any]:
    """A tool output that is a string or a list of input parts.

    See docs/reference/requests.md#tool-outputs-and-message-parts.
    """
    output = item.get("output")
    if isinstance(output, str):
        return [item]
    if isinstance(output, list):
        parts = [_suited(part, "input_text", _INPUT, note) for part in paced(output, pause)]
        return [item if _is_same(parts, output) else {**item, "output": parts}]
    note(["output_kind"])
    return [{**item, "output": "" if output is None else encode_json(output).decode()}]


def strip_hints(item: Item, note: Note, pause: Pause = no_pause) -> Item:
    """The item without cache hints inside its content, which upstream refuses."""
    content = item.get("content")
    if not isinstance(content, list) or not any(_has_hint(part) for part in paced(content, pause)):
        return item
    note([_HINT])
    return {**item, "content": [_without(part, _HINT) if _has_hint(part) else part for part in paced(content, pause)]}


def _has_hint(part: Any) -> bool:
    return isinstance(part, dict) and _HINT in part


def _without(part: Item, key: str) -> Item:
    return {name: value for name, value in part.items() if name != key}


def _type(part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    return kind if isinstance(kind, str) else ""


# Item types whose ids upstream checks; a wrong id is dropped, since none is needed.
ID_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "web_search_call": "ws",
}


def sanitize_history(items: list[Any], pause: Pause = no_pause) -> tuple[list[Any], list[str]]:
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
    paired = match_tool_outputs(mended, counts.update, pause)
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
    "message": sanitize_message,
    "reasoning": _mend_reasoning,
    "function_call_output": sanitize_output,
    "custom_tool_call_output": sanitize_output,
}


REASONING = "reasoning"
# Summaries of the conversation itself: without them its beginning is lost.
COMPACTIONS = ("compaction", "compaction_summary")


def has_ciphertext(body: Body) -> bool:
    """Whether the input holds anything encrypted."""
    return any(_is_encrypted(item) for item in _items(body))


def has_compaction(body: Body) -> bool:
    """Whether the input holds an encrypted summary that must not be left out."""
    return any(_is_encrypted(item) and item.get("type") in COMPACTIONS for item in _items(body))


def without_encrypted_reasoning(body: Body) -> Body:
    """The same body without encrypted reasoning items; itself when it holds none."""
    items = _items(body)
    kept = [item for item in items if not (_is_encrypted(item) and item.get("type") == REASONING)]
    return body if len(kept) == len(items) else {**body, "input": kept}


def _items(body: Body) -> list[Any]:
    items = body.get("input")
    return items if isinstance(items, list) else []


def _is_encrypted(item: Any) -> bool:
    return isinstance(item, dict) and bool(item.get("encrypted_content"))
