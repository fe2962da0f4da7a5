"""Where a turn may go, and in which order its providers are asked; pure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codexproxy.protocol.request import Turn
from codexproxy.provider_types import Capabilities
from codexproxy.upstream.provider import DEFAULT_GROUP, Provider

# Makes a turn fit for a provider, given its name and what it can do.
Adapter = Callable[[Turn, str, Capabilities], Turn]


@dataclass(frozen=True, slots=True)
class Route:
    """Where a turn may go.

    Attributes:
        group: The group of providers.
        adapt: Makes the turn fit for the provider that was chosen, before it is sent there.
        anywhere: Whether a turn for the local Codex CLI may find one in any group.
    """

    group: str = DEFAULT_GROUP
    adapt: Adapter | None = None
    anywhere: bool = False


def candidates(providers: Sequence[Provider], group: str, turn: Turn, *, anywhere: bool = False) -> list[Provider]:
    """The providers that may run a turn: those of its group that serve its model, and can do what it asks for.

    When none can, all of them are candidates, since each says best what it cannot do.

    Args:
        providers: All of them.
        group: The group.
        turn: The turn; its model is known by the caller's name and by upstream's.
        anywhere: Whether a turn for the local Codex CLI finds one in any group.
    """
    local = turn.routing.local
    names = (turn.model, str(turn.body.get("model") or ""))
    found = [
        provider
        for provider in providers
        if (provider.group == group or (local and anywhere))
        and (provider.capabilities.runs_cli_models or not local)
        and any(provider.serves(name) for name in names)
    ]
    return [provider for provider in found if provider.backend.supports(turn)] or found


def ordered(found: Sequence[Provider], account: str | None, uniform: Callable[[], float]) -> list[Provider]:
    """Candidates in the order in which to ask them.

    The conversation's own account comes first, then priority, then chance by weight.

    Args:
        found: Who may be asked.
        account: The account the conversation belongs to, where known.
        uniform: Random numbers in [0, 1).
    """

    def place(provider: Provider) -> tuple[bool, int, float]:
        return provider.account_id != account, provider.priority, -_weighted_key(provider.weight, uniform())

    return sorted(found, key=place) if len(found) > 1 else list(found)


def _weighted_key(weight: int, number: float) -> float:
    # Efraimidis and Spirakis: the largest ``u ** (1 / weight)`` wins with
    # probability proportional to its weight; as logarithms, to keep precision.
    if weight <= 0:
        return -math.inf
    return math.log(number) / weight if number > 0 else -math.inf
