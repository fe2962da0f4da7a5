"""Validates events against the published schemas, with the exceptions that recorded traffic shows."""

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from tests.data import SCHEMAS

Json = dict[str, Any]

# Real streams carry these, but the published schema does not allow or know them (tests/data/README.md).
NULLS_IN_RESPONSES = ("usage", "user")
NOT_IN_THE_SPEC = {"codex.rate_limits", "response.metadata", "keepalive", "response.done"}


@cache
def _schemas() -> dict[str, Draft202012Validator]:
    document = json.loads((SCHEMAS / "ResponseStreamEvent.json").read_text())
    definitions = document["$defs"]
    members = {}
    for definition in definitions.values():
        for kind in definition.get("properties", {}).get("type", {}).get("enum", []):
            if "sequence_number" in definition["properties"]:
                members[kind] = Draft202012Validator({**definition, "$defs": definitions})
    return members


def flaws(event: Json) -> list[str]:
    """What the schema of the event's type says against it."""
    kind = event["type"]
    if kind in NOT_IN_THE_SPEC:
        return []
    validator = _schemas()[kind]
    return [f"{kind}: {error.json_path} {error.message[:200]}" for error in validator.iter_errors(_as_published(event))]


def _as_published(event: Json) -> Json:
    event = json.loads(json.dumps(event))
    response = event.get("response")
    if isinstance(response, dict):
        for name in NULLS_IN_RESPONSES:
            if response.get(name, 0) is None:
                del response[name]
    if event["type"] == "response.function_call_arguments.done":
        event.setdefault("name", "not sent by the real one either")
    if event["type"] == "error" and isinstance(event.get("error"), dict):
        event = {"code": None, "param": None, **event.pop("error"), **event}
    return event
