"""Finds one's way in a JSON schema: references, joined schemas, nulls. Pure."""

from typing import Any

from codexproxy.errors import InvalidRequest
from codexproxy.protocol.pacing import Pause, Steps, TooCostly, no_pause

Schema = dict[str, Any]

_DEEPEST = 100
# Steps that all schemas of one request may take together, however they unfold; one is about a microsecond.
# The largest sets of tools seen take a tenth of it.
MOST_STEPS = 250_000
_PER_NODE = 4
# Characters that cost as much as a step, since every place that a text unfolds to is sent.
_TEXT = 32


def schema_steps(pause: Pause = no_pause) -> Steps:
    """The budget for the schemas of one request."""
    return Steps(MOST_STEPS, pause)


class SchemaTree:
    """A caller's schema.

    Args:
        schema: The whole of it; references lead from its root.
        path: Where it stands in the request, for errors.
        steps: The budget of the request.
    """

    def __init__(self, schema: Schema, path: str, steps: Steps) -> None:
        self._schema = schema
        self._path = path
        self._steps = steps

    def target(self, ref: Any) -> Schema:
        """What a reference leads to.

        Raises:
            InvalidRequest: It leads out of the schema, or to nothing.
        """
        self._spend(len(str(ref)) // _TEXT)
        target: Any = self._schema
        for step in str(ref)[1:].strip("/").split("/") if ref != "#" else []:
            target = _child(target, step.replace("~1", "/").replace("~0", "~"))
        if not str(ref).startswith("#") or not isinstance(target, dict):
            raise InvalidRequest(f"The reference '{str(ref)[:80]}' leads to no schema.", param=f"{self._path}.$ref")
        return target

    def merged(self, schema: Schema, depth: int) -> Schema:
        """The schema with ``allOf`` joined into it and ``oneOf`` as ``anyOf``.

        Raises:
            InvalidRequest: It is too deep or too large.
        """
        self._count(schema, depth)
        parts = as_list(schema.get("allOf"))
        merged = {key: value for key, value in schema.items() if key not in ("allOf", "oneOf")}
        if "oneOf" in schema and "anyOf" not in merged:
            merged["anyOf"] = schema["oneOf"]
        for part in parts:
            part = self.target(part["$ref"]) if isinstance(part, dict) and "$ref" in part else part
            if isinstance(part, dict):
                merged = _joined(merged, self.merged(part, depth + 1))
                self._spend(_weight(merged))
        return merged

    def _count(self, schema: Any, depth: int) -> None:
        # References may lead in circles, and a small schema may unfold into a huge one.
        if depth > _DEEPEST:
            raise InvalidRequest(
                f"The JSON schema is nested more than {_DEEPEST} levels deep, or its references lead in a circle.",
                code="invalid_value",
                param=self._path,
            )
        self._spend(_PER_NODE + (_weight(schema) if isinstance(schema, dict) else 0))

    def _spend(self, steps: int) -> None:
        try:
            self._steps.spend(steps)
        except TooCostly:
            raise InvalidRequest(
                "The JSON schemas of this request are too large, or unfold into too much through 'allOf' and "
                "references. Please send simpler ones, or fewer tools with 'strict'.",
                code="invalid_value",
                param=self._path,
            ) from None

    def allows_null(self, schema: Any, depth: int) -> bool:
        """Whether a null is a value of the schema.

        Raises:
            InvalidRequest: It is too deep or too large.
        """
        self._count(schema, depth)
        if not isinstance(schema, dict) or not schema:
            return True
        if "$ref" in schema:
            return self.allows_null(self.target(schema["$ref"]), depth + 1)
        if "enum" in schema or "const" in schema:
            return None in as_list(schema.get("enum")) or schema.get("const", 0) is None
        options = [*as_list(schema.get("anyOf")), *as_list(schema.get("oneOf"))]
        if options:
            return any(self.allows_null(option, depth + 1) for option in options)
        return "null" in names_in(schema.get("type")) or "type" not in schema


def _weight(schema: Schema) -> int:
    return len(schema) + sum(map(_size, schema.values()))


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value) // _TEXT
    if isinstance(value, list):
        return len(value) + sum(len(entry) // _TEXT for entry in value if isinstance(entry, str))
    return len(value) if isinstance(value, dict) else 0


def _joined(first: Schema, second: Schema) -> Schema:
    joined = {**second, **first}
    if isinstance(first.get("properties"), dict) and isinstance(second.get("properties"), dict):
        joined["properties"] = {**second["properties"], **first["properties"]}
    if "required" in first and "required" in second:
        joined["required"] = [*dict.fromkeys([*as_list(first["required"]), *as_list(second["required"])])]
    return joined


def _child(holder: Any, key: str) -> Any:
    if isinstance(holder, list):
        return holder[int(key)] if key.isdecimal() and int(key) < len(holder) else None
    return holder.get(key) if isinstance(holder, dict) else None


def names_in(value: Any) -> frozenset[str]:
    """The strings of a list, or the one string it is."""
    values = [value] if isinstance(value, str) else as_list(value)
    return frozenset(entry for entry in values if isinstance(entry, str))


def as_list(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []
