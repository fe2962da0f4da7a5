"""Whether a text is JSON that a schema allows, judged within a bounded number of steps."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

from codexproxy.protocol.pacing import Pause, Steps, TooCostly, no_pause

Schema = dict[str, Any]
Keyword = Callable[[Any, Any, Any, Any], Iterable[Any] | None]

# A caller's pattern may take exponential time, during which every stream of the worker stands still.
_UNCHECKED = frozenset({"pattern", "patternProperties", "format"})
# What these hold is data; a nested ``$schema`` would lead to a validator that counts nothing.
_DATA = frozenset({"enum", "const", "default", "examples"})
_LONGEST_REASON = 300
# A step is about two microseconds; ordinary answers take some hundred.
MOST_STEPS = 100_000
# Characters of an error message, which quotes the value, that cost as much as a step.
_TEXT = 100

_STEPS: ContextVar[Steps] = ContextVar("steps")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of an answer.

    Attributes:
        flaw: What is wrong with it, in one sentence; None when nothing was found.
        judged: Whether it was looked through to its end.
    """

    flaw: str | None = None
    judged: bool = True


UNJUDGED = Verdict(judged=False)


def judge(schema: Schema, text: str, pause: Pause = no_pause) -> Verdict:
    """Whether the schema allows the text.

    Patterns are not checked, and a schema that is itself broken finds no flaws.
    References never leave the schema.

    Args:
        schema: The caller's schema.
        text: The answer.
        pause: Lets others run, now and then.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Verdict(f"The answer is not JSON: {error}.")
    spent = _STEPS.set(Steps(MOST_STEPS, pause))
    try:
        return Verdict(_violation(schema, value))
    except TooCostly:
        return UNJUDGED
    finally:
        _STEPS.reset(spent)


def _violation(schema: Schema, value: Any) -> str | None:
    # Imported here, since most requests need none of it and it takes long to load.
    from jsonschema import Draft202012Validator, exceptions, validators
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    kind = validators.validator_for(schema, default=Draft202012Validator)
    try:
        error = exceptions.best_match(_counting(kind)(_checkable(schema), registry=Registry()).iter_errors(value))
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
    _STEPS.get().spend(1)
    kept = {}
    for key, value in schema.items():
        if key == "properties" and isinstance(value, dict):
            kept[key] = {name: _checkable(child) for name, child in value.items()}
        elif key in _DATA:
            kept[key] = value
        elif key not in _UNCHECKED and key != "$schema":
            # Tuples had another keyword in older drafts, which many schemas use without naming their draft.
            kept["prefixItems" if key == "items" and isinstance(value, list) else key] = _checkable(value)
    return kept


@cache
def _counting(kind: Any) -> Any:
    """A validator like this one that counts what it does."""
    from jsonschema import Draft3Validator, Draft4Validator, Draft6Validator, Draft7Validator, validators

    older = kind in (Draft3Validator, Draft4Validator, Draft6Validator, Draft7Validator)
    keywords: dict[str, Keyword] = {name: _counted(check) for name, check in kind.VALIDATORS.items()}
    if "uniqueItems" in keywords:
        keywords["uniqueItems"] = _unique_items
    return validators.create(
        kind.META_SCHEMA,
        keywords,
        type_checker=kind.TYPE_CHECKER,
        format_checker=kind.FORMAT_CHECKER,
        id_of=kind.ID_OF,
        applicable_validators=_applicable_older if older else _applicable,
    )


def _counted(check: Keyword) -> Keyword:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        steps = _STEPS.get()
        steps.spend(1 + (len(value) if isinstance(value, list) else 0))
        for error in check(validator, value, instance, schema) or ():
            steps.spend(len(error.message) // _TEXT)
            yield error

    return counted


def _applicable(schema: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    # Called for every look at a part of the schema, whichever keyword looks.
    steps = _STEPS.get()
    steps.spend(1 + len(schema))
    for name in ("$ref", "$dynamicRef"):
        if isinstance(reference := schema.get(name), str):
            # An anchor is sought in the whole schema, a pointer goes from step to step.
            steps.spend(reference.count("/") if reference.startswith("#") and "/" in reference else _PER_ANCHOR)
    return schema.items()


_PER_ANCHOR = 200


def _applicable_older(schema: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    # Beside a reference, older drafts let nothing else count.
    entries = _applicable(schema)
    return [("$ref", schema["$ref"])] if "$ref" in schema else entries


def _unique_items(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
    # The library compares each with each.
    from jsonschema.exceptions import ValidationError

    if not wanted or not validator.is_type(instance, "array"):
        return
    seen = set()
    for entry in instance:
        mark = _mark(entry)
        if mark in seen:
            yield ValidationError("an array holds the same entry twice, which 'uniqueItems' forbids")
            return
        seen.add(mark)


def _mark(value: Any) -> Any:
    """A value as something that can be looked up: equal for what JSON Schema calls equal."""
    _STEPS.get().spend(1)
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, list):
        return ("array", *map(_mark, value))
    if isinstance(value, dict):
        return ("object", frozenset((name, _mark(entry)) for name, entry in value.items()))
    return value
