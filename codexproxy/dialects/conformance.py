"""Whether a text is JSON that a schema allows."""

import json
from typing import Any

Schema = dict[str, Any]

# A caller's pattern may take exponential time, during which every stream of the worker stands still.
_UNCHECKED = frozenset({"pattern", "patternProperties", "format"})
_LONGEST_REASON = 300


def flaw_of(schema: Schema, text: str) -> str | None:
    """What is wrong with the text, in one sentence; None when the schema allows it.

    Patterns are not checked, and a schema that is itself broken finds no flaws.
    References never leave the schema.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"The answer is not JSON: {error}."
    return _violation(schema, value)


def _violation(schema: Schema, value: Any) -> str | None:
    # Imported here, since most requests need none of it and it takes long to load.
    from jsonschema import Draft202012Validator, exceptions, validators
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    checked = _checkable(schema)
    kind = validators.validator_for(checked, default=Draft202012Validator)
    try:
        error = exceptions.best_match(kind(checked, registry=Registry()).iter_errors(value))
    except (Unresolvable, exceptions.UnknownType, TypeError, ValueError, AttributeError, RecursionError):
        # The schema itself is broken; upstream took it, so that is no fault of the answer.
        return None
    if error is None:
        return None
    return f"At {error.json_path}: {error.message}"[: _LONGEST_REASON - 1].rstrip(".") + "."


def _checkable(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_checkable(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {}
    for key, value in schema.items():
        if key == "properties" and isinstance(value, dict):
            kept[key] = {name: _checkable(child) for name, child in value.items()}
        elif key not in _UNCHECKED:
            # Tuples had another keyword in older drafts, which many schemas use without naming their draft.
            kept["prefixItems" if key == "items" and isinstance(value, list) else key] = _checkable(value)
    return kept
