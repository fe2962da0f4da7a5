"""Finds one's way in a JSON schema: references, joined schemas, nulls. Pure."""

from typing import Any

from codexproxy.errors import InvalidRequest

Schema = dict[str, Any]

_DEEPEST = 100
_LARGEST = 10_000


class SchemaTree:
    """A caller's schema.

    Args:
        schema: The whole of it; references lead from its root.
        path: Where it stands in the request, for errors.
    """

    def __init__(self, schema: Schema, path: str) -> None:
        self._schema = schema
        self._path = path
        self._steps = 0

    def target(self, ref: Any) -> Schema:
        """What a reference leads to.

        Raises:
            InvalidRequest: It leads out of the schema, or to nothing.
        """
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
        self._count(depth)
        parts = as_list(schema.get("allOf"))
        merged = {key: value for key, value in schema.items() if key not in ("allOf", "oneOf")}
        if "oneOf" in schema and "anyOf" not in merged:
            merged["anyOf"] = schema["oneOf"]
        for part in parts:
            part = self.target(part["$ref"]) if isinstance(part, dict) and "$ref" in part else part
            if isinstance(part, dict):
                merged = _joined(merged, self.merged(part, depth + 1))
        return merged

    def _count(self, depth: int) -> None:
        # References may lead in circles, and a small schema may unfold into a huge one.
        self._steps += 1
        if depth > _DEEPEST or self._steps > _LARGEST:
            raise InvalidRequest("The JSON schema is too deep or too large.", param=self._path)

    def allows_null(self, schema: Any, depth: int) -> bool:
        """Whether a null is a value of the schema.

        Raises:
            InvalidRequest: It is too deep or too large.
        """
        self._count(depth)
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
