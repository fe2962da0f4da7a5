"""Tool names that upstream takes, and the way back to the caller's own.

See docs/reference/clients.md#tool-calls-lost-or-doubled.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from codexproxy.protocol.pacing import Pause, no_pause, paced
from codexproxy.protocol.request import Body

MOST_CHARACTERS = 64

_GOOD = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CALLS = frozenset({"function_call", "custom_tool_call"})
_NAMED_TOOLS = frozenset({"function", "custom"})


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
    holders = [*_dicts(body.get("tools"), _NAMED_TOOLS, pause), *_dicts(body.get("input"), _CALLS, pause)]
    return frozenset(name for holder in holders if isinstance(name := holder.get("name"), str))


def _dicts(value: Any, types: frozenset[str], pause: Pause) -> list[dict[str, Any]]:
    entries = value if isinstance(value, list) else []
    return [
        entry
        for entry in paced(entries, pause)
        if isinstance(entry, dict) and isinstance(kind := entry.get("type"), str) and kind in types
    ]


def _is_one_of(value: Any, types: frozenset[str]) -> bool:
    return isinstance(value, str) and value in types


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
    name = value.get("name")
    if isinstance(name, str) and name in new and _is_one_of(value.get("type"), _CALLS | _NAMED_TOOLS):
        return {**value, "name": new[name]}
    return value
