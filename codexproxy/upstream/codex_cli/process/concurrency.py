"""How many processes of the CLI may run on this host."""

from collections.abc import Sequence
from typing import Protocol


class Permit(Protocol):
    """The right to run one process."""

    def release(self) -> None:
        """Gives it back; harmless when called twice."""


class Permits(Protocol):
    """Hands out permits, of each owner's turns the first come first; ``guard.slots.Slots`` is one such."""

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


class _Free:
    def release(self) -> None:
        """There is nothing to give back."""


class Unlimited:
    """Permits without a limit."""

    def acquire(self, *, owner: str = "") -> Permit:
        """See ``Permits.acquire``."""
        return _Free()

    def acquire_all(self, count: int, *, owner: str = "") -> Sequence[Permit]:
        """See ``Permits.acquire_all``."""
        return [_Free()] * count

    def waiting(self) -> int:
        """See ``Permits.waiting``."""
        return 0
