"""Where a turn may go, and in which order its providers are asked; pure."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codexproxy.planning.official_instructions import OfficialInstructions
from codexproxy.protocol.request import Turn
from codexproxy.provider_types import Capabilities
from codexproxy.upstream.provider import DEFAULT_GROUP, Provider

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class Route:
    """Where a turn may go, and what is done to it on the way.

    Attributes:
        group: The group of providers.
        forced: Whether access control chose that group instead of the key's own.
        instructions: Put into the turn where the provider needs official ones; None leaves it as it is.
        allow_explicit_provider: Whether a turn for the local Codex CLI may find one in any group.
    """

    group: str = DEFAULT_GROUP
    forced: bool = False
    instructions: OfficialInstructions | None = None
    allow_explicit_provider: bool = False

    def fit(self, turn: Turn, capabilities: Capabilities) -> Turn:
        """The turn as a provider with these capabilities gets it."""
        if self.forced:
            turn = turn.with_notes(adapted=(f"guard:group={_UNSAFE.sub('_', self.group)}",))
        if self.instructions is not None and capabilities.needs_official_instructions:
            turn = self.instructions.inject(turn)
        return turn


def candidates(providers: Sequence[Provider], route: Route, turn: Turn) -> list[Provider]:
    """The providers that may run a turn: those of its group that serve its model, and can do what it asks for.

    When none can, all of them are candidates, since each says best what it cannot do.

    Args:
        providers: All of them.
        route: Where the turn may go.
        turn: The turn; its model is known by the caller's name and by upstream's.
    """
    local = turn.routing.local
    names = (turn.model, str(turn.body.get("model") or ""))
    found = [
        provider
        for provider in providers
        if (provider.group == route.group or (local and route.allow_explicit_provider))
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
