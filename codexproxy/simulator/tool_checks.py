"""Refusals about tools and about the Responses-Lite shape. Pure.

See docs/reference/requests.md#the-responses-lite-shape and docs/reference/errors.md#model-layer-refusals.
"""

from typing import Any

from codexproxy.simulator.catalogue import Model
from codexproxy.simulator.refusals import Body, api_error
from codexproxy.simulator.rules import Active

LITE_HEADER = "x-openai-internal-codex-responses-lite"

NAMED_TOOLS = frozenset({"function", "custom", "namespace"})
TOOL_TYPES = NAMED_TOOLS | frozenset(
    [
        "tool_search",
        "web_search",
        "web_search_preview",
        "web_search_2025_08_26",
        "local_shell",
        "shell",
        "image_generation",
        "mcp",
        "code_interpreter",
        "file_search",
        "computer_use_preview",
        "apply_patch",
    ]
)
LITE_TOOLS = NAMED_TOOLS | {"tool_search"}


def check_tools(body: Body, rules: Active) -> None:
    """Raises a Refusal for a tool without type or name, nested ones included."""
    if not rules.on("tool_shape"):
        return
    _check_list("tools", body.get("tools"))
    for position, item in enumerate(body.get("input") or []):
        if isinstance(item, dict) and item.get("type") == "additional_tools":
            _check_list(f"input[{position}].tools", item.get("tools"))


def _check_list(path: str, tools: Any) -> None:
    for position, tool in enumerate(tools if isinstance(tools, list) else []):
        here = f"{path}[{position}]"
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind is None:
            raise _missing(f"{here}.type")
        if not isinstance(kind, str) or kind not in TOOL_TYPES:
            raise api_error(f"Invalid value: '{kind}'.", f"{here}.type", "invalid_value")
        if kind in NAMED_TOOLS and not tool.get("name"):
            raise _missing(f"{here}.name")
        if kind == "namespace":
            _check_list(f"{here}.tools", tool.get("tools"))


def _missing(path: str) -> Exception:
    return api_error(f"Missing required parameter: '{path}'.", path, "missing_required_parameter")


def check_lite(body: Body, headers: dict[str, str], items: list[Body], rules: Active, model: Model | None) -> None:
    """Raises a Refusal where the Responses-Lite header and the body's shape disagree."""
    lite_model = bool(model and model.get("use_responses_lite"))
    has_header = headers.get(LITE_HEADER, "").lower() == "true"
    if rules.on("lite_shape_required") and lite_model and not has_header:
        raise api_error(f"Model not found {body.get('model')}", "model", "model_not_found", 404)
    if not rules.on("lite_header_checks") or not has_header:
        return
    if not lite_model or (body.get("reasoning") or {}).get("context") is None:
        message = "This model is not supported when using X-OpenAI-Internal-Codex-Responses-Lite."
        raise api_error(message, "model", "unsupported_value")
    if any(str(tool.get("type")) not in LITE_TOOLS for tool in all_tools(body, items)):
        message = (
            "X-OpenAI-Internal-Codex-Responses-Lite only supports function tools, custom tools, "
            "and client-executed tool search."
        )
        raise api_error(message, "tools", "unsupported_value")


def all_tools(body: Body, items: list[Body]) -> list[Body]:
    """Every tool a turn offers: top level, additional_tools items, namespaces unfolded."""
    offered = list(_listed(body))
    for item in items:
        if isinstance(item, dict) and item.get("type") == "additional_tools":
            offered += _listed(item)
    return _unfolded(offered)


def _listed(holder: Body) -> list[Any]:
    tools = holder.get("tools")
    return tools if isinstance(tools, list) else []


def _unfolded(tools: list[Any]) -> list[Body]:
    flat: list[Body] = []
    for tool in tools:
        if isinstance(tool, dict):
            flat += _unfolded(_listed(tool)) if tool.get("type") == "namespace" else [tool]
    return flat
