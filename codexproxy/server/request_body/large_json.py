"""JSON objects of any size, parsed piece by piece, so that a worker does other things in between.

A parser in C keeps the interpreter to itself: 60 MB take a third of a second, in a thread just as well. So a
body is looked through for its brackets and commas, members of large containers are parsed some 64 KiB at a
time, and long texts are put together likewise.
"""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from codexproxy.errors import InvalidRequest
from codexproxy.server.request_body.content_encoding import Body
from codexproxy.server.request_body.fairness import let_others_run

# Levels of nesting that orjson can write.
DEEPEST = 254
# Values of a body, counted by commas and brackets. Each may take a hundred bytes of memory, and empty ones are three
# bytes long; conversations have one value in twenty to a hundred bytes.
MOST_VALUES = 1_000_000
_PIECE = 64 * 1024
# The longest text that is parsed at once, and what a window of the search sees.
_WINDOW = 64 * 1024
# Values that are parsed at once.
_GROUP = 5_000
_OFTEN = 1_000
# Between two commas or brackets stands a text, a number, or blanks that make a piece no larger than this.
_LONGEST_GAP = 16 * _WINDOW

_BLANK = b" \t\r\n"
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:(")|\\?\Z)|[\[\]{},]', re.DOTALL)
_TEXT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_REST = re.compile(rb"[ \t\r\n]*+\Z")
_CLOSING = {"[": "]", "{": "}"}
_OPEN, _CLOSE = (ord("["), ord("{")), (ord("]"), ord("}"))
# An escape with its other half has 12 bytes, a character 4: what is cut off within is found so many bytes earlier.
_LONGEST_CHARACTER = 12
_ESCAPE = 6
_FARTHEST_CUT = 4096


class NotJSON(ValueError):
    """A body is no JSON.

    Args:
        message: What is wrong.
        place: Where, in bytes.
    """

    def __init__(self, message: str, place: int) -> None:
        super().__init__(message)
        self.place = place


@dataclass(slots=True)
class _Container:
    """A list or an object whose end has not been seen yet.

    Attributes:
        kind: Its bracket.
        start: Where that stands.
        key: Where its name stands in the object around it.
        value: What it holds up to ``parsed``; None while it is not known to be large.
        parsed: Up to where it is parsed.
        has_value: Whether a value ends there, behind which there must be a comma.
    """

    kind: str
    start: int
    key: tuple[int, int]
    value: Any = None
    parsed: int = 0
    has_value: bool = False


class _Reader:
    def __init__(self, body: Body, start: int) -> None:
        self._body = body
        self._stack = [_Container("{", start, (0, 0), {}, start + 1)]
        self._root = self._stack[0].value
        self._key = (0, 0)
        self._values = self._group = 0

    def read(self) -> dict[str, Any]:
        place = self._stack[0].start + 1
        while self._stack:
            let_others_run()
            place = self._window(place)
        if _REST.match(self._body, place, place + _LONGEST_GAP) is None:
            raise NotJSON("unexpected content after document", place)
        return self._root  # type: ignore[no-any-return]

    def _window(self, start: int) -> int:
        """Looks through some of the body; returns from where to go on."""
        end = min(start + _WINDOW, len(self._body))
        if start >= end:
            raise NotJSON("unexpected end of data", start)
        for token in _TOKEN.finditer(self._body, start, end):
            place = token.start()
            byte = self._body[place]
            if byte == 34:
                if token.lastindex is None:
                    return self._long_text(place) if place == start else place
                self._key = token.span()
            elif byte == 44:
                self._comma(place)
            elif byte in _OPEN:
                self._opens(chr(byte), place)
            elif self._closes(chr(byte), place):
                return place + 1
        if (
            end - self._stack[-1].parsed > _LONGEST_GAP
            and end - max(self._key[1], self._stack[-1].start) > _LONGEST_GAP
        ):
            raise NotJSON("too much whitespace, or a number that is too long", end)
        return end

    def _count(self) -> None:
        self._values += 1
        self._group += 1
        if not self._values % _OFTEN:
            let_others_run()
        if self._values > MOST_VALUES:
            raise InvalidRequest(
                f"The request has more than {MOST_VALUES:,} values. Please send fewer messages, or shorter lists.",
                code="invalid_json",
            )

    def _comma(self, place: int) -> None:
        self._count()
        inner = self._stack[-1]
        begun = inner.parsed if inner.value is not None else inner.start
        if place - begun > _PIECE or self._group > _GROUP:
            self._unfold()
            self._take(inner, place)
            inner.parsed, inner.has_value = place, True

    def _opens(self, kind: str, place: int) -> None:
        self._count()
        if len(self._stack) >= DEEPEST:
            raise too_deep()
        self._stack.append(_Container(kind, place, self._key))

    def _closes(self, bracket: str, place: int) -> bool:
        """Ends a container; returns whether it was the outermost."""
        inner = self._stack.pop()
        if bracket != _CLOSING[inner.kind]:
            raise NotJSON("unexpected bracket", place)
        if inner.value is not None:
            self._take(inner, place)
            if self._stack:
                self._stack[-1].parsed, self._stack[-1].has_value = place + 1, True
        return not self._stack

    def _unfold(self) -> None:
        """Gives each container around the current place a value of its own."""
        for outer, inner in zip(self._stack, self._stack[1:], strict=False):
            if inner.value is None:
                inner.value, inner.parsed = ({} if inner.kind == "{" else []), inner.start + 1
                self._put(outer, inner.start, inner.key, inner.value)

    def _put(self, container: _Container, place: int, key: tuple[int, int], value: Any) -> None:
        """Puts a value into a container, behind what stands there before its place."""
        self._take(container, place, b"null")
        if container.kind == "[":
            container.value[-1] = value
        else:
            container.value[self._loads(bytes(self._body[slice(*key)]), key[0])] = value

    def _take(self, container: _Container, end: int, last: bytes = b"") -> None:
        """Parses a container's members up to a place, and one more."""
        start, self._group = container.parsed, 0
        members = bytes(self._body[start:end])
        if container.has_value:
            rest = members.lstrip(_BLANK)
            if not rest and not last:
                return
            if not rest.startswith(b","):
                raise NotJSON("unexpected character", end - len(rest))
            start, members = end - len(rest) + 1, rest[1:]
        text = b"%b%b%b%b" % (container.kind.encode(), members, last, _CLOSING[container.kind].encode())
        value = self._loads(text, start - 1)
        if container.has_value and not value:
            raise NotJSON("trailing comma", end)
        if container.kind == "[":
            container.value.extend(value)
        else:
            container.value.update(value)
        let_others_run()

    def _loads(self, text: bytes, start: int) -> Any:
        try:
            return loads(text)
        except orjson.JSONDecodeError as error:
            before = len(error.doc[: error.pos].encode("utf-8", "replace"))
            raise NotJSON(error.msg, start + before) from error

    def _long_text(self, start: int) -> int:
        """Puts a text together that no window holds; returns where it ends."""
        self._unfold()
        text, place, begun = "", start + 1, start + 1
        while True:
            before, place = place, self._text_end(place)
            is_over = self._body[place : place + 1] == b'"'
            if not is_over and place == before:
                raise NotJSON("unterminated text", start)
            piece, begun = self._text_piece(begun, place, is_over)
            text += piece
            let_others_run()
            if is_over:
                break
        inner = self._stack[-1]
        self._put(inner, start, self._key, text)
        inner.parsed, inner.has_value = place + 1, True
        return place + 1

    def _text_end(self, place: int) -> int:
        """Up to where a text goes on; no further than a window."""
        found = _TEXT.match(self._body, place, place + _WINDOW)
        return found.end() if found else place

    def _text_piece(self, start: int, end: int, is_over: bool) -> tuple[str, int]:
        """As much of a text as ends with a whole character; returns it, and where it ends."""
        for cut in range(end, end - (1 if is_over else _LONGEST_CHARACTER + 1), -1):
            quoted = b'"%b"' % bytes(self._body[start:cut])
            try:
                return orjson.loads(quoted), cut
            except orjson.JSONDecodeError:
                continue
        # Half an emoji stands in it: cut far from any escape, so that none of the halves belongs to the next piece.
        cut = end
        while not is_over and (b"\\" in self._body[cut - _ESCAPE : cut] or self._body[cut] & 0xC0 == 0x80):
            cut -= 1
            if end - cut > _FARTHEST_CUT:
                raise NotJSON("too many broken characters", cut)
        return self._loads(b'"%b"' % bytes(self._body[start:cut]), start - 1), cut


def loads(text: Body) -> Any:
    """A value of JSON; halves of emojis, which some clients send, are replaced.

    Raises:
        orjson.JSONDecodeError: It is none.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        repaired = mended(bytes(text))
        if repaired is None:
            raise
        return orjson.loads(repaired)


def too_deep() -> InvalidRequest:
    """The refusal of what is nested too deeply."""
    return InvalidRequest(
        f"The request is nested more than {DEEPEST} levels deep. Please send a flatter one.", code="invalid_json"
    )


def read_object(body: Body, start: int) -> dict[str, Any]:
    """The JSON object that begins at a place of a body and takes the rest of it.

    Raises:
        NotJSON: It is not JSON.
        InvalidRequest: It has too many values, or is nested too deeply.
    """
    return _Reader(body, start).read()


_SUSPECT = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
_HIGH = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH, _LOW))
_ENCODED = re.compile(rb"\xed[\xa0-\xbf]")


def mended(text: bytes) -> bytes | None:
    """JSON whose lone surrogates became U+FFFD; None when it has none that could be meant.

    Escaped (``\\ud83d``) or encoded by themselves, which UTF-8 forbids: orjson refuses both, and upstream would, too.
    """
    if not _SUSPECT.search(text) or b"\0" in text:
        return None
    if _ENCODED.search(text):
        try:
            units = text.decode("utf-8", "surrogatepass").encode("utf-16-le", "surrogatepass")
        except UnicodeDecodeError:
            return None
        text = units.decode("utf-16-le", "replace").encode()
    # An escaped backslash begins no escape; zeros, of which JSON has none, stand in for it meanwhile.
    return _LONE.sub(rb"\\ufffd", text.replace(rb"\\", b"\0\0")).replace(b"\0\0", rb"\\")
