"""JSON values that satisfy a JSON schema: what a model with structured output would say. Pure."""

from typing import Any

Schema = dict[str, Any]

_STRINGS = {
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "date-time": "2026-01-31T12:00:00Z",
    "email": "dev@example.com",
    "uri": "https://example.com/",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "hostname": "example.com",
    "duration": "P1D",
}

MAX_DEPTH = 24
# Counts, lengths and numbers beyond are nobody's honest wish.
MOST = 10_000


def instance_of(schema: Any, word: str = "simulated") -> Any:
    """A value that satisfies the schema.

    Args:
        schema: JSON schema; ``$ref`` into itself is followed, ``pattern`` is not honoured.
        word: Filling for free strings.
    """
    return _build(schema, schema if isinstance(schema, dict) else {}, word, 0)


def _build(schema: Any, root: Schema, word: str, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return None
    if "$ref" in schema:
        return _build(_resolve(schema["$ref"], root), root, word, depth + 1)
    if "const" in schema:
        return schema["const"]
    if _list(schema, "enum"):
        return schema["enum"][0]
    if _list(schema, "allOf"):
        return _build(_merged(schema, root), root, word, depth + 1)
    options = _list(schema, "anyOf") or _list(schema, "oneOf")
    if options:
        # Deep down, null ends a recursion that the first option would not.
        return _build(_pick(options, depth), root, word, depth + 1)
    return _by_type(schema, root, word, depth)


# A caller's schema is passed on as it is, so a keyword may hold anything at all; what makes no sense says nothing.


def _list(schema: Schema, keyword: str) -> list[Any]:
    value = schema.get(keyword)
    return value if isinstance(value, list) else []


def _object_in(schema: Schema, keyword: str) -> Schema:
    value = schema.get(keyword)
    return value if isinstance(value, dict) else {}


def _number_in(schema: Schema, keyword: str) -> int | float | None:
    value = schema.get(keyword)
    return value if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST else None


def _pick(options: list[Any], depth: int) -> Any:
    plain = [option for option in options if isinstance(option, dict) and option.get("type") == "null"]
    return plain[0] if plain and depth > MAX_DEPTH // 3 else options[0]


def _merged(schema: Schema, root: Schema) -> Schema:
    merged: Schema = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        part = _resolve(part["$ref"], root) if isinstance(part, dict) and "$ref" in part else part
        if not isinstance(part, dict):
            continue
        properties = {**_object_in(merged, "properties"), **_object_in(part, "properties")}
        required = [*_list(merged, "required"), *_list(part, "required")]
        merged = {**merged, **part, "properties": properties, "required": required}
    return merged


def _resolve(reference: Any, root: Schema) -> Any:
    node: Any = root
    for step in str(reference).lstrip("#").strip("/").split("/"):
        if step:
            node = node.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(node, dict) else {}
    return node


def _by_type(schema: Schema, root: Schema, word: str, depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        named = [name for name in kind if name != "null"]
        kind = "null" if depth > MAX_DEPTH // 3 and "null" in kind else (named or ["null"])[0]
    if kind == "object" or (kind is None and "properties" in schema):
        return _object(schema, root, word, depth)
    if kind == "array":
        count = max(int(_number_in(schema, "minItems") or 0), 1 if depth < MAX_DEPTH // 3 else 0)
        return [_build(schema.get("items", {}), root, word, depth + 1) for _ in range(count)]
    if kind in ("integer", "number"):
        return _number(schema, kind)
    return {"boolean": True, "null": None}.get(str(kind), _string(schema, word))


def _object(schema: Schema, root: Schema, word: str, depth: int) -> Schema:
    properties = _object_in(schema, "properties")
    required = [name for name in _list(schema, "required") if isinstance(name, str)]
    required = required or ([] if depth > MAX_DEPTH // 3 else list(properties))
    return {name: _build(properties.get(name, {"type": "string"}), root, word, depth + 1) for name in required}


def _number(schema: Schema, kind: str) -> int | float:
    low, above = _number_in(schema, "minimum"), _number_in(schema, "exclusiveMinimum")
    high, below = _number_in(schema, "maximum"), _number_in(schema, "exclusiveMaximum")
    low = above + 1 if low is None and above is not None else low
    high = below - 1 if high is None and below is not None else high
    value: float = 1
    if low is not None:
        value = max(value, low)
    if high is not None and value >= high:
        value = high
    step = _number_in(schema, "multipleOf")
    if step:
        value = -(-value // step) * step
    return int(value) if kind == "integer" else value


def _string(schema: Schema, word: str) -> str:
    text = _STRINGS.get(str(schema.get("format")), word)
    low, high = int(_number_in(schema, "minLength") or 0), _number_in(schema, "maxLength")
    text = text.ljust(low, "x")
    return text if high is None else text[: max(0, int(high))]
