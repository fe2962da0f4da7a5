"""What the store is told of an answer that is being made without anybody having to wait for it."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from codexproxy.apis.base import Api
from codexproxy.apis.openai_responses.stored import closing, failed
from codexproxy.errors import ProxyError
from codexproxy.protocol.aggregate import ResponseAggregator
from codexproxy.protocol.events import PREAMBLE, Event
from codexproxy.protocol.pacing import Pause, no_pause
from codexproxy.protocol.request import Turn
from codexproxy.server.stored.response_service import own_input
from codexproxy.server.stored.resume import ResumeReader
from codexproxy.storage.base import cancelled
from codexproxy.storage.sqlite.database import DatabaseFailed
from codexproxy.storage.stored_responses import OwnedResponses, ResponseLog

Json = dict[str, Any]
T = TypeVar("T")

# Events beside the answer, which may come without a number.
_ASIDE = PREAMBLE - {"response.created", "response.queued", "response.in_progress"}

log = logging.getLogger(__name__)


class BackgroundWriter:
    """One answer, as the store comes to know it.

    It begins when the answer has an id. A store that fails later costs what
    would have been kept, never the answer, so only ``begin`` raises.

    Args:
        api: Completes Response objects.
        turn: The turn that is answered.
        mine: The store, as the caller sees it.
        pause: Lets others run, now and then in a long walk.
    """

    def __init__(self, api: Api, turn: Turn, mine: OwnedResponses, pause: Pause = no_pause) -> None:
        self._pause = pause
        self.id = ""
        self._api = api
        self._turn = turn
        self._mine = mine
        self._fold = ResponseAggregator()
        self._early: list[tuple[bytes, int]] = []
        # Frames without a number go with the next that has one: a reader names the last number it has.
        self._glued: list[bytes] = []
        self._is_numbered = False
        self._journal: ResponseLog | None = None
        self._status = ""
        self._last = -1
        self._lost = False

    @property
    def is_saved(self) -> bool:
        """Whether the store takes what is noted, so that it can be read there."""
        return self._journal is not None

    @property
    def last(self) -> int:
        """The number under which the store has, or will have, the last frame; -1 before the first."""
        return self._journal.last if self._journal is not None else self._last

    @property
    def waiting(self) -> int:
        """Bytes that were noted and not written yet."""
        return self._journal.size if self._journal is not None else 0

    def begin(self, response: Json) -> Json:
        """Makes the answer known; everything that was noted before belongs to it.

        Returns:
            The Response object as it is kept.

        Raises:
            ProxyError: The store cannot be used.
        """
        whole = self._api.complete(self._turn, [response])
        self._journal = self._mine.begin(
            whole, own_input(self._turn, self._pause), self._turn.storage.previous_response_id
        )
        self.id, self._status = whole["id"], whole["status"]
        for frame, number in self._early:
            self._journal.add(frame, number)
        self._early = []
        return whole

    def note(self, event: Event, frame: bytes) -> None:
        """Takes an event and the frame the client sees of it."""
        self._fold.add([event])
        number = event.data.get("sequence_number")
        if isinstance(number, int):
            self._is_numbered = True
            self._add(frame, number)
        elif self._is_numbered or event.type in _ASIDE:
            self._glued.append(frame)
        else:
            self._add(frame, self._last + 1)
        if not self._journal and not self._lost and self._fold.has_id:
            response = self._fold.response()
            self._quietly(lambda: self.begin(response), response)
            self._lost = self._journal is None

    def _add(self, frame: bytes, number: int) -> None:
        frame, self._glued, self._last = b"".join([*self._glued, frame]), [], number
        if self._journal is not None:
            self._journal.add(frame, number)
        elif not self._lost:
            self._early.append((frame, number))

    def flush(self) -> bool:
        """Writes what is due; False when nobody wants the answer any more."""
        journal = self._journal
        if journal is None:
            return True
        response = self._news()
        return self._quietly(lambda: journal.keep_up(response), True)

    def renew_lease(self) -> bool:
        """Says that the answer is being made, and writes what waits; False when nobody wants it any more."""
        journal = self._journal
        if journal is None:
            return True
        response = self._news()
        return self._quietly(lambda: journal.write(response), True)

    def last_read_at(self) -> float:
        """When somebody last read along, in epoch seconds; 0 when nobody did."""
        return self._quietly(lambda: self._mine.attended(self.id), None) or 0.0

    def end(self, error: ProxyError | None = None, last_words: bytes = b"") -> None:
        """Writes the rest and ends the answer.

        Args:
            error: Why it came to nothing.
            last_words: What the client is told then.
        """
        if last_words:
            self._add(last_words, self._last + 1)
        response = self._response()
        self._finish(failed(response, error) if error else response)

    def reader(self, after: int) -> ResumeReader:
        """Reads from the store what comes after an event, by its number."""
        return ResumeReader(self._mine, self.id, after, is_awaited=False)

    def give_up(self) -> bytes:
        """Ends the answer as cancelled; one that was cancelled or deleted stays as it is.

        Returns:
            What a client is told that listens still.
        """
        self._finish(cancelled(self._response()))
        return closing(self._quietly(lambda: self._mine.get(self.id), None), self._last, self.id)

    def _finish(self, response: Json) -> None:
        journal = self._journal
        if journal is not None:
            self._quietly(lambda: journal.finish(response), False)

    def _response(self) -> Json:
        return self._api.complete(self._turn, [self._fold.response()])

    def _news(self) -> Json | None:
        status = self._fold.status
        if not status or status == self._status:
            return None
        self._status = status
        return self._response()

    def _quietly(self, use: Callable[[], T], otherwise: T) -> T:
        try:
            return use()
        except DatabaseFailed as error:
            log.error("the response %s cannot be kept: %s", self.id, error.message)
            return otherwise
