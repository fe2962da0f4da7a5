"""Long work kept fair: walks that let others run, hashes and JSON in pieces, budgets of steps. Pure.

An encoder in C keeps the interpreter to itself: 60 MB take a tenth of a second, in a thread just as well. So
``encode_paced`` writes the members of large containers in groups, and long texts in slices; the result is what one
call writes. A budget bounds work that a small input could unfold into.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from codexproxy.protocol.events import encode_json

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


Encoded = bytes | bytearray

# About how many characters are written at once, and what each value counts in addition to its text.
PIECE = 128 * 1024
_VALUE = 8


def encode_paced(value: Any, pause: Pause) -> bytearray:
    """The JSON of a value of any size, with a pause behind each piece."""
    whole = bytearray()
    for piece in pieces(value):
        # In place: joining all of 60 MB at the end would hold up everybody else for that long.
        whole += piece
        pause()
    return whole


def pieces(value: Any, size: int = PIECE) -> Iterator[bytes]:
    """The JSON of a value, in pieces of about so many characters at most."""
    write = _WRITERS.get(type(value))
    if not write or not value or _room_left(value, size) >= 0:
        yield encode_json(value)
    else:
        yield from write(value, size)


def _of_text(text: str, size: int) -> Iterator[bytes]:
    yield b'"'
    for start in range(0, len(text), size):
        yield encode_json(text[start : start + size])[1:-1]
    yield b'"'


def _of_list(values: list[Any], size: int) -> Iterator[bytes]:
    before = b"["
    for group in _groups(values, _room_left, size):
        yield before
        before = b","
        if len(group) == 1:
            yield from pieces(group[0], size)
        else:
            yield encode_json(group)[1:-1]
    yield b"]"


def _of_object(members: dict[str, Any], size: int) -> Iterator[bytes]:
    before = b"{"
    for group in _groups(members.items(), _room_beside, size):
        yield before
        before = b","
        if len(group) == 1:
            yield from pieces(group[0][0], size)
            yield b":"
            yield from pieces(group[0][1], size)
        else:
            yield encode_json(dict(group))[1:-1]
    yield b"}"


_WRITERS: dict[type, Callable[[Any, int], Iterator[bytes]]] = {str: _of_text, list: _of_list, dict: _of_object}


def _groups(entries: Iterable[T], room_left: Callable[[T, int], int], size: int) -> Iterator[list[T]]:
    """The entries in groups that fit into a piece; one that does not is a group of its own."""
    group: list[T] = []
    room = size
    for entry in entries:
        room = room_left(entry, room)
        if room < 0 and group:
            yield group
            group, room = [], room_left(entry, size)
        group.append(entry)
    if group:
        yield group


def _room_beside(member: tuple[str, Any], room: int) -> int:
    return _room_left(member[1], room - len(member[0]) - _VALUE)


def _room_left(value: Any, room: int) -> int:
    """What a value leaves of so much room; below zero as soon as that is known."""
    room -= _VALUE
    if isinstance(value, str):
        return room - len(value)
    if isinstance(value, dict):
        for member in value.items():
            room = _room_beside(member, room)
            if room < 0:
                break
    elif isinstance(value, list):
        for entry in value:
            room = _room_left(entry, room)
            if room < 0:
                break
    return room
