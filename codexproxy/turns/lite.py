"""The Responses-Lite shape that newer models want (UPSTREAM.md §3.4)."""

from dataclasses import replace
from typing import Any

from codexproxy.turns.policy import AS_SENT
from codexproxy.turns.turn import Body, Turn

# With the lite header upstream takes these and refuses hosted tools.
_CLIENT_TOOLS = frozenset({"function", "custom", "namespace", "tool_search"})


def lite_shape(turn: Turn, *, wanted: bool) -> Turn:
    """The turn in the shape its model wants.

    A body that is lite already keeps its shape and gets the header; hosted
    tools cannot travel in the lite shape, so such a turn stays classic.

    Args:
        turn: The turn, its input a list.
        wanted: Whether the catalogue asks for the lite shape.
    """
    body = turn.body
    if is_lite(body):
        return _marked(turn, body if turn.options.get(AS_SENT) else {"instructions": "", **body})
    if not wanted or any(_type(tool) not in _CLIENT_TOOLS for tool in body.get("tools") or []):
        return turn
    return _marked(turn, _rewritten(body)).with_notes(adapted=("shape:responses_lite",))


def is_lite(body: Body) -> bool:
    """Whether the body carries its tools in the input, as the real client does for such models."""
    items = body.get("input")
    return isinstance(items, list) and bool(items) and _type(items[0]) == "additional_tools"


def _marked(turn: Turn, body: Body) -> Turn:
    return replace(turn, body=body, options={**turn.options, "lite": True})


def _rewritten(body: Body) -> Body:
    head: list[Any] = [{"type": "additional_tools", "role": "developer", "tools": body.get("tools") or []}]
    if body.get("instructions"):
        text = {"type": "input_text", "text": body["instructions"]}
        head.append({"type": "message", "role": "developer", "content": [text]})
    kept = {key: value for key, value in body.items() if key != "tools"}
    return {
        **kept,
        "instructions": "",
        "input": head + [_without_detail(item) for item in body["input"]],
        "parallel_tool_calls": False,
        "reasoning": {**body.get("reasoning", {}), "context": "all_turns"},
    }


def _without_detail(item: Any) -> Any:
    content = item.get("content") if isinstance(item, dict) else None
    if not isinstance(content, list):
        return item
    parts = [
        {key: value for key, value in part.items() if key != "detail"} if _type(part) == "input_image" else part
        for part in content
    ]
    return {**item, "content": parts}


def _type(value: Any) -> Any:
    return value.get("type") if isinstance(value, dict) else None
