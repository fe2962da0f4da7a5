"""A shallow look at a request's input items and tools.

Only what would be misread later is checked; the rest, unknown types above
all, passes untouched, since the backend knows its own items best.
"""

from collections.abc import Iterable
from typing import Any

from codexproxy.apis.openai_responses.fields import LIST, OBJECT, TEXT, Kind, missing, wrong_type
from codexproxy.protocol.pacing import Pause, no_pause, paced

Item = dict[str, Any]

CONTENT = Kind("a string or a list of content parts", lambda value: isinstance(value, str | list))
OUTPUT = Kind("a string or a list of content parts", lambda value: isinstance(value, str | list))

# What these items cannot do without; all others pass as they are.
NEEDED: dict[str, tuple[tuple[str, Kind], ...]] = {
    "message": (("role", TEXT), ("content", CONTENT)),
    "function_call": (("call_id", TEXT), ("name", TEXT), ("arguments", TEXT)),
    "function_call_output": (("call_id", TEXT), ("output", OUTPUT)),
    "custom_tool_call": (("call_id", TEXT), ("name", TEXT), ("input", TEXT)),
    "custom_tool_call_output": (("call_id", TEXT), ("output", OUTPUT)),
    "item_reference": (("id", TEXT),),
    "additional_tools": (("tools", LIST),),
}

NEEDED_BY_TOOLS: dict[str, tuple[tuple[str, Kind], ...]] = {
    "function": (("name", TEXT),),
    "custom": (("name", TEXT),),
    "namespace": (("name", TEXT), ("tools", LIST)),
}


def input_items(value: str | list[Any], pause: Pause = no_pause) -> list[Item]:
    """The request's input as a list of items.

    A string becomes one user message. An item without a type is a message
    when it has a role, else a reference to a stored item (as on the platform).

    Raises:
        InvalidRequest: An item is malformed; ``param`` is its path.
    """
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": value}]}]
    return [_typed(item, f"input[{position}]", pause) for position, item in enumerate(paced(value, pause))]


def _typed(item: Any, path: str, pause: Pause) -> Item:
    if not isinstance(item, dict):
        raise wrong_type(path, OBJECT)
    typed: Item = item if item.get("type") is not None else {**item, "type": _type_of(item, path)}
    _require(typed, path, NEEDED)
    if isinstance(typed.get("content"), list):
        _check_objects(paced(typed["content"], pause), f"{path}.content")
    return typed


def _type_of(item: Item, path: str) -> str:
    if "role" in item:
        return "message"
    if "id" in item:
        return "item_reference"
    raise missing(f"{path}.type")


def check_tools(tools: list[Any], pause: Pause = no_pause) -> None:
    """Looks whether each tool is an object with a type, and named where it must be.

    Raises:
        InvalidRequest: A tool is malformed; ``param`` is its path.
    """
    for position, tool in enumerate(paced(tools, pause)):
        path = f"tools[{position}]"
        if not isinstance(tool, dict):
            raise wrong_type(path, OBJECT)
        if "type" not in tool:
            raise missing(f"{path}.type")
        _require(tool, path, NEEDED_BY_TOOLS)


def _require(value: Item, path: str, needed: dict[str, tuple[tuple[str, Kind], ...]]) -> None:
    if not isinstance(value["type"], str):
        raise wrong_type(f"{path}.type", TEXT)
    for name, kind in needed.get(value["type"], ()):
        if value.get(name) is None:
            raise missing(f"{path}.{name}")
        if not kind.holds(value[name]):
            raise wrong_type(f"{path}.{name}", kind)


def _check_objects(parts: Iterable[Any], path: str) -> None:
    for position, part in enumerate(parts):
        if not isinstance(part, dict):
            raise wrong_type(f"{path}[{position}]", OBJECT)
