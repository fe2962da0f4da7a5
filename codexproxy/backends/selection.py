"""In which order the providers of a group are asked; pure."""

import math
from collections.abc import Callable, Sequence

from codexproxy.backends.provider import Provider
from codexproxy.turns.turn import Turn


def members(providers: Sequence[Provider], group: str, turn: Turn) -> list[Provider]:
    """The providers of a group that serve a turn's model, by the caller's name for it or upstream's."""
    names = (turn.model, str(turn.body.get("model") or ""))
    return [
        provider for provider in providers if provider.group == group and any(provider.serves(name) for name in names)
    ]


def ranked(candidates: Sequence[Provider], account: str | None, uniform: Callable[[], float]) -> list[Provider]:
    """Candidates in the order in which to ask them.

    The conversation's own account comes first, then priority, then chance by weight.

    Args:
        candidates: Who may be asked.
        account: The account the conversation belongs to, where known.
        uniform: Random numbers in [0, 1).
    """

    def place(provider: Provider) -> tuple[bool, int, float]:
        return provider.holder != account, provider.priority, -_lot(provider.weight, uniform())

    return sorted(candidates, key=place)


def _lot(weight: int, number: float) -> float:
    # Efraimidis and Spirakis: the largest ``u ** (1 / weight)`` wins with
    # probability proportional to its weight; as logarithms, to keep precision.
    if weight <= 0:
        return -math.inf
    return math.log(number) / weight if number > 0 else -math.inf
