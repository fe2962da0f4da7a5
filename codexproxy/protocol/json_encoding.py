"""JSON of large values, written piece by piece, so that a worker does other things in between. Pure.

An encoder in C keeps the interpreter to itself: 60 MB take a tenth of a second, in a thread just as well. So the
members of large containers are written in groups, and long texts in slices; the result is what one call writes.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from codexproxy.protocol.events import encode_json
from codexproxy.protocol.pacing import Pause
from codexproxy.protocol.request import Turn

T = TypeVar("T")
Encoded = bytes | bytearray

# Bytes of a body from which on it is written in pieces; most are smaller, and not even looked at.
LARGE = 256 * 1024

# About how many characters are written at once, and what each value counts beside its text.
PIECE = 128 * 1024
_VALUE = 8


def paused(turn: Turn, pause: Pause) -> Turn:
    """A turn whose body is large: others run while it is written."""
    return replace(turn, execution=replace(turn.execution, pause=pause))


def encoded(turn: Turn) -> Encoded:
    """The JSON of a turn's body."""
    pause = turn.execution.pause
    return encode_json(turn.body) if pause is None else encode_paced(turn.body, pause)


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
