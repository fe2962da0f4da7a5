"""Which refusals teach something about later turns, and about which of them.

One caller's turn must not change another's, so a remedy is remembered only when
upstream refused what the catalogue allows, and it is applied only to turns
that upstream would refuse for the same reason: those of the same kind.
"""

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from codexproxy.planning.model_catalog import ModelSpec
from codexproxy.protocol.request import Body, Turn
from codexproxy.upstream.router.request_fixes import Remedy

Check = Callable[[Any, ModelSpec], bool]

_ABSENT = "(absent)"


def _one_of(*allowed: Any) -> Check:
    return lambda value, spec: value in allowed


# Parts of a body whose refusal is upstream's own doing, by path, while their value is one that the catalogue allows.
_SANE: Mapping[str, Check] = {
    "client_metadata": lambda value, spec: isinstance(value, dict),
    "include": lambda value, spec: isinstance(value, list),
    "parallel_tool_calls": lambda value, spec: isinstance(value, bool),
    "prompt_cache_breakpoint": _one_of(_ABSENT),
    "prompt_cache_key": lambda value, spec: isinstance(value, str),
    "reasoning": lambda value, spec: _all_sane("reasoning", value, spec),
    "reasoning.context": _one_of("auto", "all_turns", "current_turn"),
    "reasoning.effort": lambda value, spec: value in spec.efforts,
    "reasoning.summary": _one_of("auto", "concise", "detailed"),
    "service_tier": lambda value, spec: value in spec.tiers,
    "text": lambda value, spec: _all_sane("text", value, spec),
    "text.verbosity": lambda value, spec: spec.verbosity and value in ("low", "medium", "high"),
    "tool_choice": _one_of("auto", "none", "required"),
}

# Their values are a caller's own, so that a turn's kind does not hang on them.
_ANY_VALUE = frozenset({"client_metadata", "prompt_cache_breakpoint", "prompt_cache_key"})


def _all_sane(path: str, value: Any, spec: ModelSpec) -> bool:
    if not isinstance(value, dict):
        return False
    checks = {name: _SANE.get(f"{path}.{name}") for name in value}
    return all(check is not None and _passes(check, value[name], spec) for name, check in checks.items())


def _passes(check: Check, value: Any, spec: ModelSpec) -> bool:
    try:
        return check(value, spec)
    except TypeError:  # what cannot be compared or hashed is no value of the catalogue's
        return False


def is_lesson(remedy: Remedy, turn: Turn, spec: ModelSpec | None) -> bool:
    """Whether a remedy that helped is worth remembering.

    Args:
        remedy: What helped.
        turn: The turn as it was before anything was changed.
        spec: What the catalogue knows of its model; None for an unknown one.
    """
    if not remedy.lasting:
        return False
    known = spec or ModelSpec(str(turn.body.get("model")))
    if remedy.kind == "drop":
        check = _SANE.get(remedy.detail)
        return check is not None and _passes(check, _at(turn.body, remedy.detail), known)
    return True


def kind_of(turn: Turn, remedy: Remedy) -> str:
    """A short name for all turns of a model that a refusal says something about.

    Turns of one kind have the same fields, the same kinds of tools, the same effort and,
    in the place that upstream refused, the same value.

    Args:
        turn: A planned turn, before anything was changed.
        remedy: What the refusal asks for.
    """
    body = turn.body
    facts = [
        turn.planning.as_sent,
        turn.routing.lite,
        sorted(body),
        sorted({str(tool.get("type")) for tool in body.get("tools") or () if isinstance(tool, dict)}),
        _at(body, "reasoning.effort"),
        _refused_part(body, remedy),
    ]
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _refused_part(body: Body, remedy: Remedy) -> Any:
    if remedy.kind == "drop":
        return remedy.detail in _ANY_VALUE or _at(body, remedy.detail)
    return body.get("instructions", _ABSENT) if remedy.kind.endswith("instructions") else None


def _at(body: Body, path: str) -> Any:
    value: Any = body
    for name in path.split("."):
        value = value.get(name, _ABSENT) if isinstance(value, dict) else _ABSENT
    return value
