"""Stored responses as turns use them: what a request refers to, and what is kept of its answer."""

import logging
from dataclasses import dataclass, replace
from typing import Any

from codexproxy.apis.base import Api
from codexproxy.apis.openai_responses.response_builder import new_id
from codexproxy.compat.history.continuation import expand_history, with_item_ids
from codexproxy.errors import InvalidRequest, UpstreamFailed
from codexproxy.protocol.aggregate import ResponseAggregator
from codexproxy.protocol.events import TERMINAL, Batch
from codexproxy.protocol.pacing import Pause, no_pause
from codexproxy.protocol.request import Turn
from codexproxy.storage.base import ResponseStore
from codexproxy.storage.sqlite.database import DatabaseFailed
from codexproxy.storage.stored_responses import OwnedResponses

Json = dict[str, Any]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResponseService:
    """Where answers are kept.

    Attributes:
        store: Keeps them for all processes of the host.
        keeps: Whether new ones are kept; what is there already can be read either way.
        grace: Seconds that a stored stream goes on after its client left; 0 ends it at once.
        most_bytes: Most bytes of what one request may refer to; None for no limit.
        pause: Lets others run, now and then in a long walk.
    """

    store: ResponseStore
    keeps: bool = True
    grace: float = 0.0
    most_bytes: int | None = None
    pause: Pause = no_pause

    def of(self, owner: str) -> OwnedResponses:
        """The responses of one key."""
        return OwnedResponses(self.store, owner)

    def recall(self, turn: Turn) -> Turn:
        """The turn with everything in its input that it refers to.

        Raises:
            InvalidRequest: That is not there, or the turn needs stored responses and none are kept.
            BodyTooLarge: That is more than a request may have.
        """
        if not self.keeps and turn.storage.background:
            raise InvalidRequest(
                "Background responses have to be stored, and CODEX_STORE_RESPONSES is off. Leave 'background' out.",
                code="unsupported_parameter",
                param="background",
            )
        turn = expand_history(turn, self.of(turn.caller.key), self.most_bytes, self.pause)
        return turn if self.keeps else replace(turn, storage=replace(turn.storage, store=False))

    def outlives(self, turn: Turn) -> bool:
        """Whether the answer is made to its end, or for a while, without its client."""
        return turn.storage.background or (turn.stream and self.grace > 0 and is_kept(turn))

    def saver(self, api: Api, turn: Turn) -> "ResponseSaver | None":
        """What keeps the answer to this turn; None for one that is not to be kept."""
        return ResponseSaver(api, turn, self.of(turn.caller.key), self.pause) if is_kept(turn) else None


def is_kept(turn: Turn) -> bool:
    """Whether the answer is to be kept, which it is unless somebody says no."""
    return turn.storage.store is not False


def own_input(turn: Turn, pause: Pause = no_pause) -> list[Json]:
    """The items that a turn adds to its conversation, each with an id."""
    return with_item_ids(turn.storage.own_input, new_id, pause)


class ResponseSaver:
    """Keeps one answer before its last bytes leave, so that whoever reads them can go on at once."""

    def __init__(self, api: Api, turn: Turn, mine: OwnedResponses, pause: Pause = no_pause) -> None:
        self._pause = pause
        self._api = api
        self._turn = turn
        self._mine = mine
        self._aggregator = ResponseAggregator()

    def note(self, batch: Batch) -> None:
        """Takes events of the stream; saves the answer when its terminal event comes."""
        self._aggregator.defer(batch)
        if batch[-1].type in TERMINAL:
            self._save_noted()

    def _save_noted(self) -> None:
        try:
            response = self._api.complete(self._turn, [self._aggregator.response()])
        except UpstreamFailed as error:
            # What is no JSON may still mean something to the client; it cannot be kept.
            log.warning("an answer was not kept: %s", error.message)
        else:
            self.save(response)

    def save(self, response: Json) -> None:
        """Keeps the final Response object; an answer is given also where it cannot be kept."""
        try:
            self._mine.save(response, own_input(self._turn, self._pause), self._turn.storage.previous_response_id)
        except DatabaseFailed as error:
            log.error("the response %s was not kept: %s", response.get("id"), error.message)
