"""A usage report as numbers (docs/reference/stream.md#usage)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codexproxy.protocol.events import Event
from codexproxy.protocol.numbers import MOST, whole
from codexproxy.protocol.stream import usage_of

_PLACES: Mapping[str, tuple[str, ...]] = {
    "input": ("input_tokens",),
    "output": ("output_tokens",),
    "cached": ("input_tokens_details", "cached_tokens"),
    "reasoning": ("output_tokens_details", "reasoning_tokens"),
}


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or several turns.

    Attributes:
        input: Sent, cached ones included.
        output: Received, those of reasoning included.
        cached: Sent and known to upstream's cache.
        reasoning: Received as reasoning.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        # Each request adds some, most of them to nothing.
        if self == _NOTHING:
            return other
        return Usage(
            min(self.input + other.input, MOST),
            min(self.output + other.output, MOST),
            min(self.cached + other.cached, MOST),
            min(self.reasoning + other.reasoning, MOST),
        )

    @property
    def total(self) -> int:
        """Tokens in and out."""
        return self.input + self.output


_NOTHING = Usage()


def read_usage(report: Any) -> Usage | None:
    """The numbers of a usage report, each within 0 and ``MOST``; None for what is no report."""
    if not isinstance(report, dict) or not report:
        return None
    return Usage(**{name: _number_at(report, path) for name, path in _PLACES.items()})


def told_usage(event: Event) -> Usage | None:
    """The usage that a terminal event tells; None where it tells none."""
    return read_usage(usage_of(event))


def _number_at(value: Any, path: Sequence[str]) -> int:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return whole(value)
