"""Finds stop texts in a text that comes in pieces, holding back only what may yet become one."""


class Stopper:
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
