"""Long work kept fair: walks that let others run, and budgets for what a small input could unfold into. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
Pause = Callable[[], None]

# Entries of a walk between two looks at the clock; shorter walks never look.
STRIDE = 256


def no_pause() -> None:
    """Where nobody waits: tests, commands."""


def paced(entries: Sequence[T], pause: Pause) -> Iterable[T]:
    """The entries, with a pause behind every 256th; a walk over few of them costs nothing more."""
    return entries if len(entries) <= STRIDE else _paced(entries, pause)


def _paced(entries: Sequence[T], pause: Pause) -> Iterator[T]:
    for start in range(0, len(entries), STRIDE):
        yield from entries[start : start + STRIDE]
        pause()


class TooCostly(Exception):
    """A budget of steps is used up."""


class Steps:
    """A budget of steps for work whose cost the size of its input does not bound.

    Args:
        left: How many steps there are.
        pause: Lets others run.
    """

    __slots__ = ("_pause", "_until_pause", "left")

    _EVERY = 2_000

    def __init__(self, left: int, pause: Pause = no_pause) -> None:
        self.left = left
        self._pause = pause
        self._until_pause = self._EVERY

    def spend(self, steps: int) -> None:
        """Takes some.

        Raises:
            TooCostly: There are not so many left.
        """
        self.left -= steps
        self._until_pause -= steps
        if self._until_pause < 0:
            self._until_pause = self._EVERY
            self._pause()
        if self.left < 0:
            raise TooCostly
