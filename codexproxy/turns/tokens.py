"""Estimates of token counts, made offline: no vocabulary is at hand, and none is needed to be useful.

Text is split the way the tokenisers of current models do it, but for rare
words. Against the recorded streams, whose deltas are single tokens, the error
of a text of some length is a few percent; other scripts, long identifiers and
base64 may be off by a third.
"""

import re
from typing import Any

from codexproxy.turns.events import encode_json

_LOWER = "a-z\u00df-\u00f6\u00f8-\u024f"
_UPPER = "A-Z\u00c0-\u00d6\u00d8-\u00de"

# Greedy and without looking ahead, so that more text can change the last piece
# only: counting piece by piece gives the same as counting at once.
_PIECE = re.compile(
    rf" ?[{_UPPER}]?[{_LOWER}]{{1,12}}"
    rf"| ?[{_UPPER}]{{1,4}}"
    r"| ?[0-9]{1,3}"
    r"| ?[\u0370-\u1fff]{1,4}"
    r"|[ \t]{0,15}[\r\n]{1,16}"
    r"|[ \t]{1,16}"
    r"| ?[!-/:-@\[-`{-~\u2010-\u2027]{1,3}[\r\n]{0,16}"
    r"| ?.",
    re.DOTALL,
)

# What the framing of a message costs, and a picture of middling size (UPSTREAM.md names no figures).
_PER_ITEM = 4
_PER_IMAGE = 800


def estimate(text: str) -> int:
    """About how many tokens a text is."""
    return sum(1 for _ in _PIECE.finditer(text))


def estimate_body(body: dict[str, Any]) -> int:
    """About how many input tokens a Responses request is."""
    items = body.get("input")
    count = _of_value(body.get("instructions")) + _of_value(body.get("tools"))
    if not isinstance(items, list):
        return count + _of_value(items)
    return count + sum(_PER_ITEM + _of_item(item) for item in items)


def _of_item(item: Any) -> int:
    if not isinstance(item, dict):
        return _of_value(item)
    fields = ("content", "output", "arguments", "input", "name", "summary", "tools")
    return sum(_of_parts(item.get(field)) for field in fields)


def _of_parts(value: Any) -> int:
    if not isinstance(value, list):
        return _of_value(value)
    return sum(_of_part(part) for part in value)


def _of_part(part: Any) -> int:
    if not isinstance(part, dict):
        return _of_value(part)
    if part.get("type") in ("input_image", "input_file"):
        return _PER_IMAGE
    text = part.get("text", part.get("refusal"))
    return _of_value(part if text is None else text)


def _of_value(value: Any) -> int:
    if value is None:
        return 0
    return estimate(value if isinstance(value, str) else encode_json(value).decode())


class Meter:
    """Counts the tokens of a text that comes in pieces, and ends it at a limit.

    The result does not depend on where the pieces are cut.

    Args:
        limit: Most tokens; None counts only.

    Attributes:
        full: Whether something had to be left out.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.full = False
        self._limit = limit
        self._complete = 0
        self._tail = ""

    @property
    def count(self) -> int:
        """Tokens so far."""
        return self._complete + bool(self._tail)

    def take(self, delta: str) -> str:
        """As much of the next piece as the limit allows."""
        if self.full or not delta:
            return ""
        text = self._tail + delta
        starts = [match.start() for match in _PIECE.finditer(text)]
        if self._limit is not None and self._complete + len(starts) > self._limit:
            self.full = True
            text = text[: starts[self._limit - self._complete]]
            self._complete, tail, self._tail = self._limit, self._tail, ""
            return text[len(tail) :]
        self._complete += len(starts) - 1
        self._tail = text[starts[-1] :]
        return delta

    def part(self) -> None:
        """Another text begins; a token does not reach across."""
        self._complete += bool(self._tail)
        self._tail = ""
