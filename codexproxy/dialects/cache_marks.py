"""``cache_control``: marks of Anthropic's prompt cache, which some clients put on messages, parts and tools.

The backend caches by itself and refuses fields that it does not know, so the
marks are taken out, and the caller is told.
"""

from typing import Any

from codexproxy.turns.pace import Pause, no_pause, paced

MARK = "cache_control"

# Fields of a request, and of what is in them, that may hold marked entries.
_HOLDERS = ("messages", "input", "tools", "functions", "content", "output", "function", "custom")
_CONTAINERS = frozenset({dict, list})


def without_marks(fields: dict[str, Any], pause: Pause = no_pause) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A request without marks below its top level, and the names of what was left out.

    What holds none is the same object as before.

    Args:
        fields: The request.
        pause: Lets others run, now and then.
    """
    held = {name: _kept(fields[name], pause) for name in _HOLDERS if name in fields}
    marked = {name: kept for name, kept in held.items() if kept is not fields[name]}
    return ({**fields, **marked}, (MARK,)) if marked else (fields, ())


def _kept(value: Any, pause: Pause) -> Any:
    if isinstance(value, list):
        entries = [_kept(entry, pause) for entry in paced(value, pause)]
        same = all(new is old for new, old in zip(entries, value, strict=True))
        return value if same else entries
    if not isinstance(value, dict) or _holds_nothing(value):
        return value
    kept, _ = without_marks(value, pause)
    return {name: entry for name, entry in kept.items() if name != MARK} if MARK in kept else kept


def _holds_nothing(value: dict[str, Any]) -> bool:
    # Most messages are a role and a text, and in a long conversation there are thousands.
    return MARK not in value and _CONTAINERS.isdisjoint(map(type, value.values()))
