"""The Responses-Lite shape that newer models want (docs/reference/requests.md#the-responses-lite-shape)."""

from typing import Any

from codexproxy.planning.context import Setting
from codexproxy.planning.request_builder import Draft
from codexproxy.protocol.pacing import Pause, paced
from codexproxy.protocol.request import Body

# With the lite header upstream takes these and refuses hosted tools.
_CLIENT_TOOLS = frozenset({"function", "custom", "namespace", "tool_search"})


def settle_shape(draft: Draft, setting: Setting) -> None:
    """Classic or lite, as the catalogue says.

    A body that is lite already keeps its shape and gets the header; hosted
    tools cannot travel in the lite shape, so such a turn stays classic.
    """
    body, spec = draft.body, setting.wanted.spec
    if is_lite(body):
        draft.lite = True
        draft.body = body if draft.as_sent else {"instructions": "", **body}
    elif spec and spec.lite and all(_type(tool) in _CLIENT_TOOLS for tool in body.get("tools") or []):
        draft.lite = True
        draft.body = _rewritten(body, setting.policy.pause)
        draft.adapt("shape:responses_lite")


def is_lite(body: Body) -> bool:
    """Whether the body carries its tools in the input, as the real client does for such models."""
    items = body.get("input")
    return isinstance(items, list) and bool(items) and _type(items[0]) == "additional_tools"


def _rewritten(body: Body, pause: Pause) -> Body:
    head: list[Any] = [{"type": "additional_tools", "role": "developer", "tools": body.get("tools") or []}]
    if body.get("instructions"):
        text = {"type": "input_text", "text": body["instructions"]}
        head.append({"type": "message", "role": "developer", "content": [text]})
    kept = {key: value for key, value in body.items() if key != "tools"}
    return {
        **kept,
        "instructions": "",
        "input": head + [_without_detail(item, pause) for item in paced(body["input"], pause)],
        "parallel_tool_calls": False,
        "reasoning": {**body.get("reasoning", {}), "context": "all_turns"},
    }


def _without_detail(item: Any, pause: Pause) -> Any:
    content = item.get("content") if isinstance(item, dict) else None
    if not isinstance(content, list):
        return item
    parts = [
        {key: value for key, value in part.items() if key != "detail"} if _type(part) == "input_image" else part
        for part in paced(content, pause)
    ]
    return {**item, "content": parts}


def _type(value: Any) -> Any:
    return value.get("type") if isinstance(value, dict) else None
