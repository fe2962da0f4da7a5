"""The seam to upstreams: what every backend offers, and what it says of itself."""

from collections.abc import Sequence
from typing import Any, Protocol

from codexproxy.errors import NotOffered
from codexproxy.protocol.request import Turn
from codexproxy.protocol.stream import EventStream
from codexproxy.provider_types import Capabilities


class Permit(Protocol):
    """The right to run one turn, or one process."""

    def release(self) -> None:
        """Gives it back; harmless when called twice."""


class Permits(Protocol):
    """Hands out permits, of each owner's turns the first come first; ``access.slots.Slots`` is one such."""

    def acquire(self, *, owner: str = "") -> Permit:
        """A permit, as soon as there is one.

        Args:
            owner: Whose turn it is for.

        Raises:
            RateLimited: None became free in time.
        """

    def acquire_all(self, count: int, *, owner: str = "") -> Sequence[Permit]:
        """So many permits at once, as soon as there are; none of them is held while the others are awaited.

        Raises:
            InvalidRequest: There are never so many.
            RateLimited: They did not become free in time.
        """

    def waiting(self) -> int:
        """How many wait for one on this host; idle processes end for them."""


class Backend(Protocol):
    """A place where turns run. Subclasses inherit the answers of a backend that can do no more than run turns.

    Attributes:
        name: The provider's name, as in ``x-codexproxy-backend``.
        capabilities: What it can do; callers ask for these, never for its class.
    """

    name: str
    capabilities: Capabilities

    def open(self, turn: Turn) -> EventStream:
        """Starts the turn; its body is sent as it is.

        Raises:
            ProxyError: The turn was refused before any event came.
        """

    def models(self) -> list[dict[str, Any]]:
        """The live catalogue, in the upstream's own ModelInfo shape (docs/reference/models.md#the-catalogue).

        Raises:
            ProxyError: It cannot be fetched.
        """

    def usage(self) -> dict[str, Any]:
        """The account's quota windows (docs/reference/quota.md#the-usage-report).

        Raises:
            ProxyError: It has none, or they cannot be fetched.
        """
        raise NotOffered(f"The provider '{self.name}' has no quota windows.")

    def compact(self, body: dict[str, Any]) -> dict[str, Any]:
        """Compacts a conversation (docs/reference/requests.md#compaction).

        Raises:
            NotOffered: Upstream lacks this.
        """
        raise NotOffered(f"The provider '{self.name}' cannot compact conversations.")

    def supports(self, turn: Turn) -> bool:
        """Whether it can do what the turn asks for; where it cannot, another provider may."""
        return True

    def problem(self) -> str | None:
        """Why it cannot serve turns now, in one sentence for ``/ready``; None when nothing is known.

        Raises:
            ProxyError: Its program cannot be asked.
        """
        return None

    def preview(self, turn: Turn) -> dict[str, Any]:
        """What ``open`` would send, for a person to read; starts nothing and holds no credential.

        Raises:
            ProxyError: The turn cannot be run here.
        """
        return {"body": turn.body}
