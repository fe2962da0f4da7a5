"""What an agent did, as text for those who ask (``x_codex.include_activity``).

One form for both transports: ``codex exec`` writes ``command_execution`` and
``aggregated_output`` where the app-server writes ``commandExecution`` and
``aggregatedOutput`` (docs/reference/codex-cli.md#its-json-lines).
"""

import re
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

# Most characters of a command's output that are told.
OUTPUT_SHOWN = 4000

_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")


def activity_of(item: Json) -> Json | None:
    """The item in its plain form, when it reports an activity."""
    plain = _plain(item)
    return plain if plain.get("type") in _WORDS else None


def began(activity: Json) -> str:
    """What is told when it begins."""
    return _WORDS[activity["type"]][0](activity)


def ended(activity: Json) -> str:
    """What is told when it has ended."""
    return _WORDS[activity["type"]][1](activity)


def _plain(item: Json) -> Json:
    plain = {_snake(key): value for key, value in item.items()}
    return {**plain, "type": _snake(str(item.get("type", "")))}


def _snake(name: str) -> str:
    return _CAPITAL.sub(lambda found: "_" + found[1].lower(), name)


def _command(item: Json) -> str:
    return f"$ {_text(item.get('command'))}\n"


def _command_end(item: Json) -> str:
    output, status = _text(item.get("aggregated_output")), item.get("exit_code")
    shown = output[-OUTPUT_SHOWN:]
    dropped = f"[{len(output) - len(shown)} characters left out]\n" if len(output) > len(shown) else ""
    newline = "" if not shown or shown.endswith("\n") else "\n"
    ending = f"[exit {status}]" if status is not None else _status(item)
    return f"{dropped}{shown}{newline}{ending}"


def _changes(item: Json) -> str:
    changes = item.get("changes")
    lines = [_change(change) for change in changes if isinstance(change, dict)] if isinstance(changes, list) else []
    return "".join(f"{line}\n" for line in lines)


def _change(change: Json) -> str:
    # The app-server says {"kind": {"type": "add"}}.
    kind = change.get("kind")
    word = kind.get("type") if isinstance(kind, dict) else kind
    return f"{_text(word)} {_text(change.get('path'))}"


def _status(item: Json) -> str:
    return f"[{_text(item.get('status')) or 'done'}]"


def _tool(item: Json) -> str:
    return f"tool {_text(item.get('server'))}.{_text(item.get('tool'))}\n"


def _search(item: Json) -> str:
    return f"web search: {_text(item.get('query'))}\n"


def _todo(item: Json) -> str:
    entries = item.get("items")
    steps = [step for step in entries if isinstance(step, dict)] if isinstance(entries, list) else []
    return "".join(f"[{'x' if step.get('completed') else ' '}] {_text(step.get('text'))}\n" for step in steps)


def _nothing(item: Json) -> str:
    return ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


# Type of an item -> what is told when it begins and what is added at its end.
_WORDS: dict[str, tuple[Callable[[Json], str], Callable[[Json], str]]] = {
    "command_execution": (_command, _command_end),
    "file_change": (_changes, _status),
    "mcp_tool_call": (_tool, _status),
    "collab_tool_call": (_tool, _status),
    "collab_agent_tool_call": (_tool, _status),
    "web_search": (_nothing, _search),
    "todo_list": (_nothing, _todo),
}
