"""A provider: one backend and what the configuration says of it."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from codexproxy.protocol.request import Turn
from codexproxy.upstream.base import Backend

DEFAULT_GROUP = "default"


@dataclass(frozen=True, slots=True)
class Provider:
    """One place where turns may go.

    Attributes:
        backend: Runs the turns.
        group: The group it belongs to.
        priority: Lower ones are asked first.
        weight: Share among providers of the same priority.
        models: Models it serves; ``*`` and other shell patterns.
        account: What encrypted reasoning is bound to; the provider's own name when empty.
    """

    backend: Backend
    group: str = DEFAULT_GROUP
    priority: int = 0
    weight: int = 1
    models: tuple[str, ...] = ("*",)
    account: str = ""

    @property
    def name(self) -> str:
        """The provider's name."""
        return self.backend.name

    @property
    def kind(self) -> str:
        """Its type: ``codex``, ``codex-cli`` or ``openai``."""
        return self.backend.kind

    @property
    def holder(self) -> str:
        """The account whose encrypted reasoning it can read."""
        return self.account or self.name

    def fits(self, turn: Turn) -> bool:
        """Whether its backend can do what the turn asks for; most can do everything."""
        fits = getattr(self.backend, "fits", None)
        return fits is None or bool(fits(turn))

    def serves(self, model: str) -> bool:
        """Whether turns for this model may go there."""
        return "*" in self.models or any(fnmatchcase(model, pattern) for pattern in self.models)
