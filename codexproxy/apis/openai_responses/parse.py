"""A Responses request's JSON object as a turn."""

from collections.abc import Iterable
from typing import Any

from codexproxy.apis.cache_marks import without_marks
from codexproxy.apis.openai_responses.fields import (
    ECHOED,
    LIST,
    OBJECT,
    TEXT,
    VERBOSITIES,
    Kind,
    missing,
    sort,
    wrong_type,
)
from codexproxy.apis.openai_responses.response_builder import ResponsesRenderOptions
from codexproxy.apis.validation_errors import wrong_value
from codexproxy.compat.strict_schema.decode import Restorer
from codexproxy.compat.strict_schema.encode import to_strict
from codexproxy.errors import InvalidRequest
from codexproxy.protocol.json_schema import schema_steps
from codexproxy.protocol.pacing import Pause, Steps, no_pause, paced
from codexproxy.protocol.request import Caller, PlanningHints, StorageOptions, Turn


def parse(payload: dict[str, Any], caller: Caller, pause: Pause = no_pause) -> Turn:
    """Checks a request and makes it a turn.

    The body stays in the public shape; what is honoured here and not upstream
    is in the turn's ``storage``, ``restorer`` and ``render``. A request without
    a model has an empty one: there may be a default.

    Raises:
        InvalidRequest: ``param`` names the path of the offending field.
    """
    payload, marks = without_marks(payload, pause)
    fields = sort(payload)
    body, emulated = fields.mapped, fields.emulated
    storage = _storage(emulated)
    body["input"] = _input(body.get("input"), storage.previous_response_id, pause)
    check_tools(body.get("tools", []), pause)
    _check_inner(body)
    body, restorer, fitted = fit_schemas(body, pause)
    render = ResponsesRenderOptions(
        given={name: payload[name] for name in ECHOED if payload.get(name) is not None},
        metadata=emulated.get("metadata", {}),
        fitted=tuple(name for name in ("tools", "text") if body.get(name) is not fields.mapped.get(name)),
    )
    cap = _max_tokens(emulated.get("max_output_tokens"))
    turn = Turn(
        model=body.get("model", ""),
        body=body,
        stream=emulated.get("stream", False),
        caller=caller,
        cache_key=body.get("prompt_cache_key", ""),
        max_tokens=cap,
        planning=PlanningHints(responses_api=True),
        storage=storage,
        restorer=restorer,
        render=render,
    )
    adapted = (*fitted, "max_output_tokens:emulated") if cap else fitted
    return turn.with_notes(ignored=(*fields.ignored, *marks), adapted=adapted)


def _storage(emulated: dict[str, Any]) -> StorageOptions:
    storage = StorageOptions(
        store=emulated.get("store"),
        background=emulated.get("background", False),
        previous_response_id=emulated.get("previous_response_id"),
    )
    if storage.background and storage.store is False:
        raise InvalidRequest(
            "A background response has to be stored, or it could never be fetched. Leave 'store' out.",
            param="background",
        )
    return storage


def _input(value: str | list[Any] | None, previous: str | None, pause: Pause) -> list[dict[str, Any]]:
    if value is None and previous is None:
        raise missing("input")
    items = input_items(value or [], pause)
    if not items and previous is None:
        raise InvalidRequest("'input' is empty. Send a question, or at least one item.", param="input")
    return items


# Fields of objects that the backend is strict about, and whose type it would complain of in words of its own.
_INNER: dict[str, tuple[str, ...]] = {
    "reasoning": ("effort", "summary", "generate_summary", "context", "mode"),
    "text": ("verbosity",),
}


def _check_inner(body: dict[str, Any]) -> None:
    for name, inner in _INNER.items():
        for key in inner:
            value = body.get(name, {}).get(key)
            if value is not None and not TEXT.holds(value):
                raise wrong_type(f"{name}.{key}", TEXT)
    verbosity = body.get("text", {}).get("verbosity")
    if verbosity not in (None, *VERBOSITIES):
        raise wrong_value("text.verbosity", verbosity, VERBOSITIES)


def _max_tokens(value: int | None) -> int | None:
    if value is not None and value < 1:
        raise InvalidRequest("'max_output_tokens' must be at least 1.", param="max_output_tokens")
    return value


Json = dict[str, Any]


def fit_schemas(body: Json, pause: Pause = no_pause) -> tuple[Json, Restorer | None, tuple[str, ...]]:
    """The body with schemas that upstream takes in strict mode.

    Args:
        body: A body of the Responses API; it is not changed.
        pause: Lets others run, now and then.

    Returns:
        The body, the way back for the answer's text, and what was changed.

    Raises:
        InvalidRequest: A schema leads nowhere, is nested too deeply or unfolds too far.
    """
    steps, fitted, restorer = schema_steps(pause), dict(body), None
    notes: list[str] = []
    tools = [_tool(tool, f"tools[{position}]", steps, notes) for position, tool in enumerate(body.get("tools") or [])]
    if notes:
        fitted["tools"] = tools
    form = (body.get("text") or {}).get("format")
    if isinstance(form, dict) and form.get("type") == "json_schema" and _is_strict(form, "schema"):
        made = to_strict(form["schema"], strict=True, path="text.format.schema", steps=steps)
        restorer = made.restorer
        if made.schema != form["schema"]:
            fitted["text"] = {**body["text"], "format": {**form, "schema": made.schema}}
            notes.append("text.format:schema_fitted")
    return fitted, restorer, tuple(dict.fromkeys(notes))


def _tool(tool: Json, path: str, steps: Steps, notes: list[str]) -> Json:
    if tool.get("type") != "function" or not _is_strict(tool, "parameters"):
        return tool
    made = to_strict(tool["parameters"], strict=True, path=f"{path}.parameters", steps=steps)
    if made.restorer is not None:
        notes.append("tools:strict_off")
        return {**tool, "strict": False}
    if made.schema == tool["parameters"]:
        return tool
    notes.append("tools:schema_fitted")
    return {**tool, "parameters": made.schema}


def _is_strict(holder: Json, name: str) -> bool:
    return holder.get("strict") is True and isinstance(holder.get(name), dict)


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
