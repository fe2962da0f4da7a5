"""``cache_control``: marks of Anthropic's prompt cache, which some clients put on messages, parts and tools.

The backend caches by itself and refuses fields that it does not know, so the
marks are taken out, and the caller is told.
"""

from typing import Any

from codexproxy.protocol.pacing import Pause, no_pause, paced

MARK = "cache_control"

# Fields of a request, and of what is in them, that may hold marked entries.
_HOLDERS = frozenset({"messages", "input", "tools", "functions", "content", "output", "function", "custom"})
_CONTAINERS = frozenset({dict, list})


def without_marks(fields: dict[str, Any], pause: Pause = no_pause) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A request without marks below its top level, and the names of what was left out.

    What holds none is the same object as before.

    Args:
        fields: The request.
        pause: Lets others run, now and then.
    """
    marked = {}
    for name, value in fields.items():
        # Most contents are texts.
        if type(value) in _CONTAINERS and name in _HOLDERS and (kept := _kept(value, pause)) is not value:
            marked[name] = kept
    return ({**fields, **marked}, (MARK,)) if marked else (fields, ())


def _kept(value: Any, pause: Pause) -> Any:
    if type(value) is list:
        return _kept_entries(value, pause)
    if type(value) is not dict:
        return value
    kept, _ = without_marks(value, pause)
    return {name: entry for name, entry in kept.items() if name != MARK} if MARK in kept else kept


def _kept_entries(values: list[Any], pause: Pause) -> list[Any]:
    kept: list[Any] = []
    is_same = True
    for entry in paced(values, pause):
        new = entry
        # Most messages are a role and a text, and in a long conversation there are thousands.
        if type(entry) is not dict or MARK in entry or not _CONTAINERS.isdisjoint(map(type, entry.values())):
            new = _kept(entry, pause)
            is_same = is_same and new is entry
        kept.append(new)
    return values if is_same else kept
