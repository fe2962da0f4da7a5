"""Tool names that upstream takes, and the way back to the caller's own.

See docs/reference/clients.md#tool-calls-lost-or-doubled.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from codexproxy.protocol.item_tracker import CALL_FIELDS
from codexproxy.protocol.pacing import Pause, no_pause, paced
from codexproxy.protocol.request import Body

MOST_CHARACTERS = 64

_GOOD = re.compile(r"[a-zA-Z0-9_-]{1,64}")
# Field of a body -> types of its entries that have a name of the caller's.
_NAMED = {"tools": frozenset({"function", "custom"}), "input": frozenset(CALL_FIELDS)}
_NAMED_TYPES = _NAMED["tools"] | _NAMED["input"]


def rename_tools(body: Body, pause: Pause = no_pause) -> tuple[Body, dict[str, str]]:
    """The body with tool names that upstream takes, and what each new name stood for.

    Tools, choices and the calls of the conversation are renamed alike; the
    same name always becomes the same, so that the prompt cache holds.
    """
    names = _own_names(body, pause)
    wrong = [name for name in names if not is_fitting(name)]
    if not wrong:
        return body, {}
    new = {name: fitting(name, names) for name in paced(wrong, pause)}
    changed = dict(body)
    for key in ("tools", "tool_choice", "input"):
        if key in body:
            changed[key] = renamed(body[key], new, pause)
    return changed, {short: name for name, short in new.items()}


def is_fitting(name: str) -> bool:
    """Whether upstream takes the name as it is."""
    return _GOOD.fullmatch(name) is not None


def fitting(name: str, taken: frozenset[str] = frozenset()) -> str:
    """A name of at most 64 allowed characters that tells the original from all others."""
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    kept = re.sub(r"[^a-zA-Z0-9_-]", "_", name[:MOST_CHARACTERS])
    for length in (8, 16, 32):
        short = f"{kept[: MOST_CHARACTERS - length - 1]}_{mark[:length]}"
        if short not in taken:
            break
    return short


def _own_names(body: Body, pause: Pause) -> frozenset[str]:
    names: set[str] = set()
    for key, types in _NAMED.items():
        entries = body.get(key)
        for entry in paced(entries, pause) if isinstance(entries, list) else ():
            if isinstance(entry, dict) and isinstance(kind := entry.get("type"), str) and kind in types:
                names |= {name} if isinstance(name := entry.get("name"), str) else set()
    return frozenset(names)


def renamed(value: Any, new: Mapping[str, str], pause: Pause = no_pause) -> Any:
    """Tools, choices or calls with new names.

    Args:
        value: One of them, or a list.
        new: Old name -> new one.
        pause: Lets others run.
    """
    if isinstance(value, list):
        return [renamed(entry, new, pause) for entry in paced(value, pause)]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "allowed_tools":
        return {**value, "tools": renamed(value.get("tools"), new, pause)}
    name, kind = value.get("name"), value.get("type")
    if isinstance(name, str) and name in new and isinstance(kind, str) and kind in _NAMED_TYPES:
        return {**value, "name": new[name]}
    return value
