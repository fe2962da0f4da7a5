"""Fixes refused turns, and remembers for a while which turns a provider wants fixed.

One caller's turn must not change another's, so a fix is remembered only when
upstream refused what the catalogue allows, and it is applied only to turns
that upstream would refuse for the same reason: those of the same kind.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from codexproxy.errors import ProxyError
from codexproxy.planning.model_catalog import ModelSpec
from codexproxy.protocol.request import Body, Turn
from codexproxy.upstream.router.request_fixes import RequestFix, apply_fix, fix_for

# Upstream changes its mind: what it refuses today is tried again tomorrow.
LASTS = 24 * 3600.0
# Fixes that are remembered per provider and model, and such pairs: the newest ones.
MOST = 100

Check = Callable[[Any, ModelSpec], bool]

_ABSENT = "(absent)"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FixHistory:
    """What became of a turn on its way.

    Attributes:
        origin: The turn before anything was changed.
        applied: Each provider that refused it, by name, and what that refusal asked for.
    """

    origin: Turn
    applied: tuple[tuple[str, RequestFix], ...] = ()


class RequestFixer:
    """Changes turns so that upstream takes them.

    Args:
        official: A model's slug -> its official instructions, the best there are.
        spec_of: A model's slug -> what the catalogue knows of it.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        official: Callable[[str], str],
        spec_of: Callable[[str], ModelSpec | None] = lambda slug: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._official = official
        self._spec_of = spec_of
        self._clock = clock
        # Provider and model -> fix and kind of turns -> when that was learned, oldest first.
        self._known: dict[tuple[str, str], dict[tuple[RequestFix, str], float]] = {}

    def apply_known(self, turn: Turn, provider: str) -> Turn:
        """The turn with all that this provider is known to want of such turns."""
        known = self._known.get((provider, turn.body["model"]))
        if not known:
            return turn
        origin, now = _history_of(turn).origin, self._clock()
        for (fix, kind), learned_at in list(known.items()):
            if now - learned_at < LASTS and kind == kind_of(origin, fix):
                turn = apply_fix(turn, fix, self._official) or turn
        return turn

    def fix(self, turn: Turn, error: ProxyError, provider: str) -> Turn | None:
        """A refused turn, changed by exactly what the refusal names; None when that is not possible."""
        wanted = fix_for(error)
        fixed = apply_fix(turn, wanted, self._official) if wanted else None
        if wanted is None or fixed is None:
            return None
        before = _history_of(turn)
        history = replace(before, applied=(*before.applied, (provider, wanted)))
        return replace(fixed, execution=replace(fixed.execution, fixes=history))

    def remember(self, turn: Turn, provider: str) -> None:
        """Remembers what made a provider take a turn; what did not help is not worth it."""
        if turn.execution.fixes is None:
            return
        history = _history_of(turn)
        model = history.origin.body["model"]
        for refused_by, fix in history.applied:
            if refused_by == provider and is_general(fix, history.origin, self._spec_of(model)):
                self._add(provider, model, fix, kind_of(history.origin, fix))

    def _add(self, provider: str, model: str, fix: RequestFix, kind: str) -> None:
        log.warning("%s refused a turn of %s; from now on: %s", provider, model, fix)
        known = self._known.pop((provider, model), {})
        known.pop((fix, kind), None)
        known[fix, kind] = self._clock()
        self._known[provider, model] = known
        for remembered in (known, self._known):
            while len(remembered) > MOST:
                del remembered[next(iter(remembered))]  # type: ignore[arg-type]


def _history_of(turn: Turn) -> FixHistory:
    history = turn.execution.fixes
    return history if isinstance(history, FixHistory) else FixHistory(turn)


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


def is_general(fix: RequestFix, turn: Turn, spec: ModelSpec | None) -> bool:
    """Whether a fix that helped will help other turns as well.

    Args:
        fix: What helped.
        turn: The turn as it was before anything was changed.
        spec: What the catalogue knows of its model; None for an unknown one.
    """
    if not fix.is_permanent:
        return False
    known = spec or ModelSpec(str(turn.body.get("model")))
    if fix.action == "drop":
        check = _SANE.get(fix.detail)
        return check is not None and _passes(check, _value_at(turn.body, fix.detail), known)
    return True


def kind_of(turn: Turn, fix: RequestFix) -> str:
    """A short name for all turns of a model that a refusal says something about.

    Turns of one kind have the same fields, the same kinds of tools, the same effort and,
    in the place that upstream refused, the same value.

    Args:
        turn: A planned turn, before anything was changed.
        fix: What the refusal asks for.
    """
    body = turn.body
    facts = [
        turn.planning.as_sent,
        turn.routing.lite,
        sorted(body),
        sorted({str(tool.get("type")) for tool in body.get("tools") or () if isinstance(tool, dict)}),
        _value_at(body, "reasoning.effort"),
        _refused_part(body, fix),
    ]
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _refused_part(body: Body, fix: RequestFix) -> Any:
    if fix.action == "drop":
        return fix.detail in _ANY_VALUE or _value_at(body, fix.detail)
    return body.get("instructions", _ABSENT) if fix.action.endswith("instructions") else None


def _value_at(body: Body, path: str) -> Any:
    value: Any = body
    for name in path.split("."):
        value = value.get(name, _ABSENT) if isinstance(value, dict) else _ABSENT
    return value
