"""Long work kept fair: walks that let others run, and budgets for what a small input could unfold into. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
Pause = Callable[[], None]
Form = Callable[[memoryview], bytes | memoryview]

# Entries of a walk between two looks at the clock; shorter walks never look.
STRIDE = 256
# Bytes between two looks at the clock; some milliseconds.
HASHED_AT_ONCE = 1024 * 1024


def no_pause() -> None:
    """Where nobody waits: tests, commands."""


def paced(entries: Sequence[T], pause: Pause) -> Iterable[T]:
    """The entries, with a pause behind every 256th; a walk over few of them costs nothing more."""
    return entries if len(entries) <= STRIDE else _paced(entries, pause)


def _paced(entries: Sequence[T], pause: Pause) -> Iterator[T]:
    for start in range(0, len(entries), STRIDE):
        yield from entries[start : start + STRIDE]
        pause()


class Hash(Protocol):
    """A digest of ``hashlib``."""

    def update(self, data: bytes | memoryview, /) -> object:
        """Takes some more."""

    def digest(self) -> bytes:
        """The digest of all that was taken."""


def as_it_is(piece: memoryview) -> memoryview:
    """A piece of data, unchanged."""
    return piece


def hashed(hash: Hash, data: bytes | bytearray, pause: Pause, form: Form = as_it_is) -> bytes:
    """The digest with all of the data taken in, each mebibyte in the form that is wanted, and a pause behind it."""
    view = memoryview(data)
    for start in range(0, len(data), HASHED_AT_ONCE):
        if start:
            pause()
        hash.update(form(view[start : start + HASHED_AT_ONCE]))
    return hash.digest()


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
