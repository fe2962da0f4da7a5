"""``x-codexproxy-dry-run: 1``: what a turn would send, without sending it."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from codexproxy.backends.provider import Provider
from codexproxy.turns.turn import Turn

HEADER = "x-codexproxy-dry-run"


@runtime_checkable
class Previewing(Protocol):
    """A backend that can tell what it would send."""

    def preview(self, turn: Turn) -> dict[str, Any]:
        """URL, headers without credentials, body."""


def explain(turns: Sequence[Turn], providers: Sequence[Provider]) -> dict[str, Any]:
    """What would be sent for these turns, and each rule that was applied.

    Args:
        turns: The turns of one request, planned.
        providers: Where they may go, the likeliest first.
    """
    return {
        "dry_run": True,
        "model": turns[0].model,
        "ignored": list(turns[0].ignored),
        "adapted": list(turns[0].adapted),
        "emulated": _emulated(turns[0]),
        "upstream": [_preview(turn, providers) for turn in turns],
    }


def _preview(turn: Turn, providers: Sequence[Provider]) -> dict[str, Any]:
    for provider in providers:
        backend = getattr(provider.backend, "inner", provider.backend)
        if isinstance(backend, Previewing):
            return {"backend": provider.name, **backend.preview(turn)}
    return {"backend": providers[0].name if providers else None, "body": turn.body}


def _emulated(turn: Turn) -> dict[str, Any]:
    found = {"stop": list(turn.stop), "max_tokens": turn.max_tokens, "n": turn.count if turn.count > 1 else None}
    return {name: value for name, value in found.items() if value}
