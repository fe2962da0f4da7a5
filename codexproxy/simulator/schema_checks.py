"""Refusals about JSON schemas and JSON mode, as the public API words them. Pure."""

from typing import Any

import orjson

from codexproxy.simulator.refusals import Body, Refusal, api_error
from codexproxy.simulator.rules import Active


def check_formats(body: Body, items: list[Body], rules: Active) -> None:
    """Raises a Refusal for unusable strict schemas and for JSON mode without the word."""
    text = body.get("text")
    format = text.get("format") if isinstance(text, dict) else None
    format = format if isinstance(format, dict) else {}
    if rules.on("strict_schemas"):
        _check_tool_schemas(body.get("tools"))
        _check_format(format)
    if rules.on("json_word") and format.get("type") == "json_object" and b"json" not in orjson.dumps(items).lower():
        message = (
            "Response input messages must contain the word 'json' in some form "
            "to use 'text.format' of type 'json_object'."
        )
        raise api_error(message, "input")


def _check_format(format: Body) -> None:
    if format.get("type") != "json_schema":
        return
    for name in ("name", "schema"):
        if not format.get(name):
            path = f"text.format.{name}"
            raise api_error(f"Missing required parameter: '{path}'.", path, "missing_required_parameter")
    flaw = _flaw(format["schema"], ()) if format.get("strict") else None
    if flaw:
        message = f"Invalid schema for response_format '{format['name']}': {flaw}"
        raise api_error(message, "text.format.schema", "invalid_json_schema")


def _check_tool_schemas(tools: Any) -> None:
    for position, tool in enumerate(tools if isinstance(tools, list) else []):
        if isinstance(tool, dict) and tool.get("type") == "function" and tool.get("strict") is True:
            flaw = _flaw(tool.get("parameters"), ())
            if flaw:
                raise _bad_parameters(str(tool.get("name")), flaw, position)


def _bad_parameters(name: str, flaw: str, position: int) -> Refusal:
    message = f"Invalid schema for function '{name}': {flaw}"
    return api_error(message, f"tools[{position}].parameters", "invalid_function_parameters")


def _flaw(schema: Any, context: tuple[str, ...]) -> str | None:
    if not isinstance(schema, dict):
        return f"In context={context!r}, schema must be an object." if not context else None
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, dict):
        own = _object_flaw(schema, properties if isinstance(properties, dict) else {}, context)
        if own:
            return own
    for where, child in _children(schema):
        flaw = _flaw(child, (*context, *where))
        if flaw:
            return flaw
    return None


def _object_flaw(schema: Body, properties: Body, context: tuple[str, ...]) -> str | None:
    if schema.get("additionalProperties") is not False:
        return f"In context={context!r}, 'additionalProperties' is required to be supplied and to be false."
    required = schema.get("required")
    if isinstance(required, list) or not properties:
        missing = [name for name in properties if name not in (required or [])]
        if not missing:
            return None
    else:
        missing = list(properties)
    return (
        f"In context={context!r}, 'required' is required to be supplied and to be an array "
        f"including every key in properties. Missing '{missing[0]}'."
    )


def _children(schema: Body) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for key in ("properties", "$defs", "definitions"):
        if isinstance(schema.get(key), dict):
            found += [((key, name), child) for name, child in schema[key].items()]
    if isinstance(schema.get("items"), dict):
        found.append((("items",), schema["items"]))
    options = schema.get("anyOf")
    for index, child in enumerate(options if isinstance(options, list) else []):
        found.append((("anyOf", str(index)), child))
    return found
