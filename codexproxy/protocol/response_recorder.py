"""The events that a stream's answer can be rebuilt from, and hardly any more.

Every item is told again when it is done, so its deltas are not needed then;
where it is never told again, they are all there is (docs/reference/stream.md#empty-final-output).
"""

from operator import attrgetter
from typing import Any

from codexproxy.protocol.aggregate import STRUCTURE, fold
from codexproxy.protocol.events import Batch
from codexproxy.protocol.item_tracker import ADDED, DONE

# What is longer is too large to be remembered twice: it is told again, or it is lost.
MOST_DELTAS = 20_000

_type = attrgetter("type")


class Minutes:
    """Takes down one stream; nothing is parsed before it is needed."""

    def __init__(self) -> None:
        # What stays, and what came since the last forgetting: only that is looked through when deltas are forgotten.
        self._kept: Batch = []
        self._fresh: Batch = []
        self._deltas = 0
        self._open = 0

    def note(self, batch: Batch) -> None:
        """Takes the next events."""
        if STRUCTURE.isdisjoint(map(_type, batch)):
            self._note_deltas(batch)
            return
        for event in batch:
            if event.type in STRUCTURE:
                self._fresh.append(event)
                self._follow(event.type)
            else:
                self._note_deltas([event])

    def _note_deltas(self, batch: Batch) -> None:
        fits = self._deltas <= MOST_DELTAS
        self._deltas += len(batch)
        if self._deltas <= MOST_DELTAS:
            self._fresh += batch
        elif fits:
            self._forget_deltas()

    def _follow(self, type: str) -> None:
        if type == ADDED:
            self._open += 1
        elif type == DONE:
            self._open = max(0, self._open - 1)
            if self._deltas and not self._open:
                self._forget_deltas()
                self._deltas = 0

    def _forget_deltas(self) -> None:
        self._kept += [event for event in self._fresh if event.type in STRUCTURE]
        self._fresh = []

    def response(self) -> dict[str, Any]:
        """The Response object, as ``fold`` has it.

        Raises:
            UpstreamFailed: One of the events is not JSON.
        """
        return fold([self._kept, self._fresh])
