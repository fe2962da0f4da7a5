"""The description of the API, generated from the schemas that check it (OpenAPI 3.1)."""

import re
from collections.abc import Mapping
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from codexproxy import __version__
from codexproxy.apis.openai_chat import fields as chat
from codexproxy.apis.openai_chat import schema as read
from codexproxy.apis.openai_completions import FIELDS as COMPLETION_FIELDS
from codexproxy.apis.openai_completions import CompletionRequest
from codexproxy.apis.openai_responses import fields as responses
from codexproxy.server.operations import OPERATIONS, Operation

Json = dict[str, Any]

# Our marshmallow fields -> JSON types.
_TYPES = (
    (read.Text, "string"),
    (read.Switch, "boolean"),
    (read.Count, "integer"),
    (read.Listing, "array"),
    (read.Mapped, "object"),
)

# Kinds of the Responses table -> JSON schemas.
_KINDS: dict[str, Json] = {
    responses.TEXT.name: {"type": "string"},
    responses.FLAG.name: {"type": "boolean"},
    responses.INTEGER.name: {"type": "integer"},
    responses.NUMBER.name: {"type": "number"},
    responses.OBJECT.name: {"type": "object"},
    responses.LIST.name: {"type": "array"},
    responses.TEXT_LIST.name: {"type": "array", "items": {"type": "string"}},
    responses.TEXT_MAP.name: {"type": "object", "additionalProperties": {"type": "string"}},
    responses.TEXT_OR_LIST.name: {"type": ["string", "array"]},
    responses.TEXT_OR_OBJECT.name: {"type": ["string", "object"]},
}

_ERROR: Json = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string", "description": "What went wrong and what to do."},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "Path of the offending field."},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


def document() -> Json:
    """The whole description."""
    plugin = MarshmallowPlugin()
    spec = APISpec(
        title="codexproxy",
        version=__version__,
        openapi_version="3.1.0",
        plugins=[plugin],
        info={"description": "The OpenAI API, answered by the Codex backend of a ChatGPT plan."},
        security=[{"key": []}],
    )
    for kind, name in _TYPES:
        plugin.map_to_openapi_type(kind, name, None)  # type: ignore[no-untyped-call]
    spec.components.security_scheme("key", {"type": "http", "scheme": "bearer"})
    spec.components.schema("Error", _ERROR)
    spec.components.schema("Anything", {"type": "object"})
    spec.components.schema("ResponseRequest", _responses_schema())
    spec.components.schema("ChatRequest", schema=read.ChatRequest)
    spec.components.schema("CompletionRequest", schema=CompletionRequest)
    for operation in OPERATIONS:
        spec.path(operation.path, operations={operation.method: _operation(operation)})
    described: Json = spec.to_dict()
    schemas = described["components"]["schemas"]
    _explain(schemas["ChatRequest"], chat.FIELDS)
    _explain(schemas["CompletionRequest"], COMPLETION_FIELDS)
    return described


def _operation(operation: Operation) -> Json:
    contents: Json = {operation.kind: {}}
    if operation.streams:
        contents["text/event-stream"] = {}
    described: Json = {
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": {
            "200": {"description": "As asked for.", "content": contents},
            "default": {
                "description": "An error.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    names = re.findall(r"\{(\w+)\}", operation.path)
    if names:
        described["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if operation.body:
        reference = {"$ref": f"#/components/schemas/{operation.body}"}
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": reference}}}
    if operation.open:
        described["security"] = []
    return described


def _responses_schema() -> Json:
    properties = {}
    for name, field in responses.FIELDS.items():
        note = f"{field.fate.name.capitalize()}. {field.reason}".strip()
        properties[name] = {**_KINDS.get(field.kind.name, {}), "description": note}
    return {"type": "object", "properties": properties}


def _explain(schema: Json, fields: Mapping[str, chat.Field]) -> None:
    """Adds what becomes of every field, and those fields whose type does not matter."""
    properties = schema.setdefault("properties", {})
    for name, field in fields.items():
        note = f"{field.fate.capitalize()}. {field.note}".strip()
        properties.setdefault(name, {})["description"] = note
