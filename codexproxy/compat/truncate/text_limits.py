"""Limits of a text that comes in pieces: stop texts, and a number of tokens.

Tokens are counted without the tokenizer's tables: text is split the way the
tokenizers of current models do it, but for rare words. Against the recorded
streams, whose deltas are single tokens, the count is within 10 % over all and
within 20 % (or 3 tokens) of each text; other scripts, long identifiers and
base64 may be off by a third. Complete texts are counted by
``metering/estimate.py``, which may look ahead and so does better.
"""

import re


class StopSequenceMatcher:
    """Passes a text on up to the first stop text.

    The stop text that is complete first ends the text, of two that are complete
    at once the one that began first; so the result does not depend on where the
    pieces are cut.

    Args:
        stop: Texts that end it, none of them empty.

    Attributes:
        held: What is held back since it may be the beginning of a stop text.
        hit: Whether a stop text was found.
    """

    def __init__(self, stop: tuple[str, ...]) -> None:
        self.held = ""
        self.hit = False
        self._stop = stop

    def take(self, delta: str) -> str:
        """What may be shown now."""
        text = self.held + delta
        end = self._first(text)
        if end is not None:
            self.hit, self.held = True, ""
            return text[:end]
        kept = self._longest_beginning(text)
        self.held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def flush(self) -> str:
        """What was held back, once no more text comes."""
        held, self.held = self.held, ""
        return held

    def _first(self, text: str) -> int | None:
        found = [(start + len(stop), start) for stop in self._stop if (start := text.find(stop)) >= 0]
        return min(found)[1] if found else None

    def _longest_beginning(self, text: str) -> int:
        return max((_overlap(text, stop) for stop in self._stop), default=0)


def _overlap(text: str, stop: str) -> int:
    # Only where its first character stands can it have begun, which is nowhere in most texts.
    start = text.find(stop[0], max(0, len(text) - len(stop) + 1))
    while start >= 0:
        if stop.startswith(text[start:]):
            return len(text) - start
        start = text.find(stop[0], start + 1)
    return 0


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


class StreamingTokenCounter:
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
