"""``response_format`` and verbosity into ``text`` of the Responses API."""

import re
from typing import Any

from codexproxy.apis.validation_errors import missing, wrong_type, wrong_value

Json = dict[str, Any]

_KINDS = ("text", "json_object", "json_schema")
_VERBOSITIES = ("low", "medium", "high")


def read_text(fields: Json) -> Json:
    """``text`` with what the caller asked for.

    Raises:
        InvalidRequest: The format or the verbosity is malformed.
    """
    given = fields.get("text") or {}
    text = {key: value for key, value in given.items() if key in ("format", "verbosity") and value is not None}
    if "verbosity" in fields:
        text["verbosity"] = fields["verbosity"]
    if text.get("verbosity", "low") not in _VERBOSITIES:
        raise wrong_value("verbosity", text["verbosity"], _VERBOSITIES)
    path = "response_format" if "response_format" in fields else "text.format"
    format = fields.get("response_format", text.pop("format", None))
    text.pop("format", None)
    read = read_format(format, path) if format is not None else None
    return {**text, "format": read} if read else text


def read_format(format: Any, path: str) -> Json | None:
    """A format in the words of the Responses API; None for plain text.

    Raises:
        InvalidRequest: It is malformed.
    """
    if not isinstance(format, dict):
        raise wrong_type(path, "an object", format)
    kind = format.get("type")
    if kind is None:
        raise missing(f"{path}.type")
    if kind not in _KINDS:
        raise wrong_value(f"{path}.type", kind, _KINDS)
    if kind == "json_schema":
        return _schema(format, path)
    return {"type": kind} if kind == "json_object" else None


def _schema(format: Json, path: str) -> Json:
    # Nested in chat, flat in the Responses API.
    nested = format.get("json_schema")
    holder, path = (nested, f"{path}.json_schema") if nested is not None else (format, path)
    if not isinstance(holder, dict):
        raise wrong_type(path, "an object", holder)
    schema = holder.get("schema")
    if schema is None:
        raise missing(f"{path}.schema")
    if not isinstance(schema, dict):
        raise wrong_type(f"{path}.schema", "an object", schema)
    read: Json = {"type": "json_schema", "name": _name(holder.get("name")), "schema": schema}
    if isinstance(holder.get("description"), str):
        read["description"] = holder["description"]
    return {**read, "strict": holder.get("strict") is True}


def _name(name: Any) -> str:
    # Upstream takes up to 64 letters, digits, dashes and underscores.
    fitting = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] if isinstance(name, str) else ""
    return fitting or "response"
