"""What the model's own layer refuses: shapes, pairs, ids, schemas. Pure.

See docs/reference/errors.md#model-layer-refusals.
"""

from collections.abc import Iterator
from typing import Any

from codexproxy.simulator.catalogue import Model
from codexproxy.simulator.refusals import Body, Refusal, api_error
from codexproxy.simulator.rules import Active
from codexproxy.simulator.schema_checks import check_formats
from codexproxy.simulator.tool_checks import check_lite, check_tools

CALLS = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "local_shell_call": "local_shell_call_output",
    "shell_call": "shell_call_output",
    "apply_patch_call": "apply_patch_call_output",
}
OUTPUTS = {output: call for call, output in CALLS.items()}

ID_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "web_search_call": "ws",
    "compaction": "cmp",
    "additional_tools": "at",
}

ITEM_TYPES = (
    ["message", "reasoning", "item_reference", "additional_tools", "compaction", "compaction_summary"]
    + ["compaction_trigger", *CALLS, *OUTPUTS, "web_search_call", "file_search_call", "computer_call"]
    + ["computer_call_output", "code_interpreter_call", "image_generation_call", "mcp_call", "mcp_list_tools"]
    + ["mcp_approval_request", "mcp_approval_response", "tool_search_call", "tool_search_output"]
)
ROLES = ["assistant", "system", "developer", "user"]

_NEEDED: dict[str, dict[str, Any]] = {
    "function_call": {"call_id": str, "name": str, "arguments": str},
    "function_call_output": {"call_id": str, "output": (str, list)},
    "custom_tool_call": {"call_id": str, "name": str, "input": str},
    "custom_tool_call_output": {"call_id": str, "output": (str, list)},
    "reasoning": {"summary": list},
    "message": {"content": (str, list)},
    "item_reference": {"id": str},
}

INPUT_PARTS = ["input_text", "input_image", "input_file"]
OUTPUT_PARTS = ["output_text", "refusal"]


def check_turn(body: Body, headers: dict[str, str], rules: Active, model: Model | None) -> None:
    """Raises the first Refusal the core layer has for a turn."""
    items = [item if isinstance(item, dict) else {} for item in _listed(body.get("input"))]
    if model is not None:
        _check_abilities(body, rules, model)
    check_tools(body, rules)
    check_formats(body, items, rules)
    for position, item in enumerate(items):
        _check_item(f"input[{position}]", item, rules)
    _check_pairs(items, rules)
    check_lite(body, headers, items, rules, model)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _check_abilities(body: Body, rules: Active, model: Model) -> None:
    effort = _nested(body, "reasoning", "effort")
    levels = [level["effort"] for level in model.get("supported_reasoning_levels") or []]
    if rules.on("effort_supported") and effort is not None and levels and effort not in levels:
        raise _unsupported(effort, levels, model, "reasoning.effort")
    verbosity = _nested(body, "text", "verbosity")
    allowed = ["low", "medium", "high"] if model.get("support_verbosity", True) else ["medium"]
    if rules.on("verbosity_supported") and verbosity is not None and verbosity not in allowed:
        raise _unsupported(verbosity, allowed, model, "text.verbosity")


def _nested(body: Body, outer: str, inner: str) -> Any:
    value = body.get(outer)
    return value.get(inner) if isinstance(value, dict) else None


def _unsupported(value: Any, allowed: list[str], model: Model, param: str) -> Refusal:
    message = f"Unsupported value: '{value}' is not supported with the '{model['slug']}' model."
    return api_error(f"{message} Supported values are: {quoted(allowed)}.", param, "unsupported_value")


def quoted(names: list[str]) -> str:
    """``'a', 'b', and 'c'``, as upstream lists values."""
    marks = [f"'{name}'" for name in names]
    if len(marks) < 3:
        return " and ".join(marks)
    return ", ".join(marks[:-1]) + f", and {marks[-1]}"


def _check_item(path: str, item: Body, rules: Active) -> None:
    kind = item.get("type") or ("message" if "role" in item else None)
    if rules.on("item_shape"):
        _check_shape(path, item, kind)
    if rules.on("item_ids"):
        _check_id(path, item, kind)
    if rules.on("not_persisted"):
        _check_persisted(item, kind)
    if rules.on("content_types"):
        _check_parts(path, item, kind)
    if rules.on("cache_breakpoint_refused") and any("prompt_cache_breakpoint" in part for _, part in _parts(item)):
        raise api_error("prompt_cache_breakpoint is not supported on this model", path)


def _check_shape(path: str, item: Body, kind: Any) -> None:
    if kind is None:
        raise api_error(f"Missing required parameter: '{path}.type'.", f"{path}.type", "missing_required_parameter")
    if kind not in ITEM_TYPES:
        raise api_error(f"Invalid value: '{kind}'. Supported values are: {quoted(ITEM_TYPES)}.", path, "invalid_value")
    if kind == "message" and item.get("role") not in ROLES:
        message = f"Invalid value: '{item.get('role')}'. Supported values are: {quoted(ROLES)}."
        raise api_error(message, f"{path}.role", "invalid_value")
    for name, types in _NEEDED.get(kind, {}).items():
        _check_field(f"{path}.{name}", item.get(name), types)


def _check_field(path: str, value: Any, types: Any) -> None:
    if value is None:
        raise api_error(f"Missing required parameter: '{path}'.", path, "missing_required_parameter")
    if not isinstance(value, types):
        wanted = "a string" if types is str else "an array" if types is list else "one of a string or an array"
        message = f"Invalid type for '{path}': expected {wanted}, but got {_named(value)} instead."
        raise api_error(message, path, "invalid_type")


def _named(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "an integer"}
    return names.get(type(value), "null")


def _check_id(path: str, item: Body, kind: Any) -> None:
    prefix, id = ID_PREFIXES.get(kind), item.get("id")
    if prefix and isinstance(id, str) and not id.startswith(prefix):
        message = f"Invalid '{path}.id': '{id}'. Expected an ID that begins with '{prefix}'."
        raise api_error(message, f"{path}.id", "invalid_value")


def _check_persisted(item: Body, kind: Any) -> None:
    stored = kind == "item_reference" or (kind == "reasoning" and item.get("id") and not item.get("encrypted_content"))
    if stored:
        message = (
            f"Item with id '{item.get('id')}' not found. Items are not persisted when `store` is set to false. "
            "Try again with `store` set to true, or remove this item from your input."
        )
        raise api_error(message, "input", status=404)


def _parts(item: Body) -> Iterator[tuple[str, Body]]:
    for name in ("content", "output"):
        for position, part in enumerate(_listed(item.get(name))):
            if isinstance(part, dict):
                yield f"{name}[{position}]", part


def _check_parts(path: str, item: Body, kind: Any) -> None:
    if kind != "message" and kind not in OUTPUTS:
        return
    allowed = OUTPUT_PARTS if item.get("role") == "assistant" else INPUT_PARTS
    for where, part in _parts(item):
        if part.get("type") not in allowed:
            listed = quoted(allowed)
            message = f"Invalid value: '{part.get('type')}'. Supported values are: {listed}."
            raise api_error(message, f"{path}.{where}", "invalid_value")


def _check_pairs(items: list[Body], rules: Active) -> None:
    if not rules.on("tool_pairing"):
        return
    called = {(item["type"], item.get("call_id")) for item in items if item.get("type") in CALLS}
    answered = {(OUTPUTS[item["type"]], item.get("call_id")) for item in items if item.get("type") in OUTPUTS}
    for kind, call_id in sorted(answered - called, key=str):
        raise api_error(f"No tool call found for {_spoken(CALLS[kind])} with call_id {call_id}.", "input")
    for kind, call_id in sorted(called - answered, key=str):
        raise api_error(f"No tool output found for {_spoken(kind)} {call_id}.", "input")


def _spoken(kind: str) -> str:
    return kind.replace("_", " ")
