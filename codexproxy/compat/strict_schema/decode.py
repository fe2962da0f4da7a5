"""Turns JSON that was written for a fitted schema back into the shape the caller asked for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codexproxy.protocol.events import encode_json
from codexproxy.protocol.pacing import Pause, Steps, no_pause

# Steps that one answer may take on its way back; many options for many entries multiply.
MOST_STEPS = 500_000


@dataclass(frozen=True, slots=True)
class Way:
    """What an answer needs on its way back.

    Attributes:
        plans: Plans of the schema's definitions, by name.
        steps: The budget.
    """

    plans: Mapping[str, "Plan"]
    steps: Steps


@dataclass(frozen=True, slots=True)
class Plan:
    """How a value goes back; the plain one leaves it as it is."""

    def restore(self, value: Any, way: "Way") -> Any:
        """The value in the caller's shape; what does not fit the plan stays as it is.

        Args:
            value: What the model wrote.
            way: What is looked up on the way back.
        """
        return value

    def fits(self, value: Any, way: "Way") -> bool:
        """Whether a value can have been written for this plan's schema.

        Raises:
            TooCostly: The way's budget is used up.
        """
        return True


KEEP = Plan()


@dataclass(frozen=True, slots=True)
class Kinds(Plan):
    """A value of certain JSON types, or one of certain values."""

    types: frozenset[str] = frozenset()
    values: tuple[Any, ...] = ()

    def fits(self, value: Any, way: "Way") -> bool:
        way.steps.spend(1 + len(self.values))
        if self.values:
            return any(type(value) is type(other) and value == other for other in self.values)
        return not self.types or bool(json_types(value) & self.types)


@dataclass(frozen=True, slots=True)
class ObjectPlan(Plan):
    """An object; a null stands for an optional property that was left out."""

    properties: Mapping[str, Plan] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()

    def restore(self, value: Any, way: "Way") -> Any:
        if not isinstance(value, dict):
            return value
        kept = {key: entry for key, entry in value.items() if entry is not None or key not in self.optional}
        return {key: self.properties.get(key, KEEP).restore(entry, way) for key, entry in kept.items()}

    def fits(self, value: Any, way: "Way") -> bool:
        way.steps.spend(1)
        if not isinstance(value, dict) or value.keys() != self.properties.keys():
            return False
        return all(
            plan.fits(value[key], way) or (value[key] is None and key in self.optional)
            for key, plan in self.properties.items()
        )


@dataclass(frozen=True, slots=True)
class ListPlan(Plan):
    """An array of like entries."""

    entry: Plan = KEEP

    def restore(self, value: Any, way: "Way") -> Any:
        return [self.entry.restore(entry, way) for entry in value] if isinstance(value, list) else value

    def fits(self, value: Any, way: "Way") -> bool:
        return isinstance(value, list)


@dataclass(frozen=True, slots=True)
class TuplePlan(Plan):
    """An array of fixed places, written as an object with the keys ``"0"``, ``"1"``, …"""

    entries: tuple[Plan, ...] = ()

    def restore(self, value: Any, way: "Way") -> Any:
        if not self.fits(value, way):
            return value
        return [plan.restore(value[str(place)], way) for place, plan in enumerate(self.entries)]

    def fits(self, value: Any, way: "Way") -> bool:
        way.steps.spend(len(self.entries))
        return isinstance(value, dict) and value.keys() == {str(place) for place in range(len(self.entries))}


@dataclass(frozen=True, slots=True)
class MapPlan(Plan):
    """An object with free keys, written as a list of ``{"key", "value"}``."""

    entry: Plan = KEEP

    def restore(self, value: Any, way: "Way") -> Any:
        if not self.fits(value, way):
            return value
        return {str(pair["key"]): self.entry.restore(pair["value"], way) for pair in value}

    def fits(self, value: Any, way: "Way") -> bool:
        way.steps.spend(len(value) if isinstance(value, list) else 1)
        return isinstance(value, list) and all(
            isinstance(pair, dict) and pair.keys() == {"key", "value"} for pair in value
        )


@dataclass(frozen=True, slots=True)
class ChoicePlan(Plan):
    """One of several; the first that fits is meant."""

    options: tuple[Plan, ...] = ()

    def restore(self, value: Any, way: "Way") -> Any:
        way.steps.spend(1)
        chosen = next((plan for plan in self.options if _meant(plan, way).fits(value, way)), KEEP)
        return chosen.restore(value, way)


@dataclass(frozen=True, slots=True)
class RefPlan(Plan):
    """What a definition of the schema says."""

    name: str = ""

    def restore(self, value: Any, way: "Way") -> Any:
        return way.plans.get(self.name, KEEP).restore(value, way)


@dataclass(frozen=True, slots=True)
class WrapPlan(Plan):
    """A value that is no object, written as ``{"value": …}``."""

    inner: Plan = KEEP

    def restore(self, value: Any, way: "Way") -> Any:
        if isinstance(value, dict) and value.keys() == {"value"}:
            return self.inner.restore(value["value"], way)
        return value


@dataclass(frozen=True, slots=True)
class Restorer:
    """The plan of a whole schema.

    Attributes:
        root: The plan of the answer itself.
        plans: Plans of the schema's definitions.
    """

    root: Plan
    plans: Mapping[str, Plan] = field(default_factory=dict)

    def text(self, text: str, pause: Pause = no_pause) -> str:
        """JSON text in the caller's shape; text that is no JSON (an answer that was cut) as it is.

        Raises:
            TooCostly: It cannot be turned back with a bounded number of steps.
        """
        try:
            value = json.loads(text)
            return encode_json(self.root.restore(value, Way(self.plans, Steps(MOST_STEPS, pause)))).decode()
        except (ValueError, RecursionError):
            return text


def json_types(value: Any) -> frozenset[str]:
    """The names that JSON Schema has for a value's type."""
    if isinstance(value, bool):
        return frozenset({"boolean"})
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return frozenset({"integer", "number"})
    return frozenset({_TYPES.get(type(value), "null")})


_TYPES = {float: "number", str: "string", list: "array", dict: "object"}


def _meant(plan: Plan, way: Way) -> Plan:
    way.steps.spend(1)
    return way.plans.get(plan.name, KEEP) if isinstance(plan, RefPlan) else plan
