"""What is kept of a response, and what every store of responses offers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Json = dict[str, Any]

# Number of an event in its stream, and its bytes as the client sees them.
Frame = tuple[int, bytes]

DAY = 86_400.0

# Bytes that an item costs besides its content.
PER_ITEM = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept, and for how long.

    Attributes:
        max_age: Seconds that a conversation is kept after its last turn.
        max_responses: Most responses.
        max_bytes: Most bytes of all stored responses.
        log_age: Seconds that a finished response's events can still be resumed.
        lease: Seconds after which a response whose maker is silent counts as abandoned.
    """

    max_age: float = 30 * DAY
    max_responses: int = 100_000
    max_bytes: int = 1 << 30
    log_age: float = 3600.0
    lease: float = 60.0


@dataclass(frozen=True, slots=True)
class Stored:
    """A response to keep.

    Attributes:
        owner: Name of the key that made it; nobody else can see it.
        response: The Response object; its ``id`` and ``output`` included.
        input: Items of its own request, each with an id, without those it continued.
        previous: Id of the response it continued.
    """

    owner: str
    response: Mapping[str, Any]
    input: Sequence[Mapping[str, Any]] = ()
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class History:
    """A conversation up to one response.

    Attributes:
        input: All items that led to the response, oldest first.
        output: Items of the response itself.
        status: The response's status.
        lost: Id of a response in the chain that is not kept any more; what came before it is missing.
    """

    input: list[Json]
    output: list[Json]
    status: str
    lost: str | None = None


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some frames of a response's log.

    Attributes:
        frames: The frames, in order.
        is_last: Whether the response is finished and no frame follows these.
    """

    frames: list[Frame]
    is_last: bool


class ResponseStore(Protocol):
    """Keeps responses for the processes that share it.

    A response is unfinished while its maker vouches for it with ``advance``.
    It becomes finished once: by ``finish``, by ``cancel``, or because its
    maker fell silent. Whoever comes second changes nothing.
    """

    def save(self, stored: Stored) -> None:
        """Keeps a finished response; one of the same id and owner is replaced."""

    def begin(self, stored: Stored) -> None:
        """Keeps a response that is still being made."""

    def advance(self, owner: str, id: str, frames: Sequence[Frame] = (), response: Json | None = None) -> bool:
        """Says that an unfinished response is being made, and adds to its log.

        Args:
            owner: Whose it is.
            id: Which it is.
            frames: Further frames.
            response: What is known of it by now, when that changed.

        Returns:
            False when it was cancelled or deleted, or given up: nobody wants it any more.
        """

    def finish(self, owner: str, id: str, response: Json, frames: Sequence[Frame] = ()) -> bool:
        """Ends an unfinished response; False when it had ended already."""

    def attend(self, owner: str, id: str) -> None:
        """Says that somebody reads along at this moment."""

    def attended(self, owner: str, id: str) -> float | None:
        """When somebody last read along, in epoch seconds; None when nobody did."""

    def cancel(self, owner: str, id: str) -> Json | None:
        """Ends an unfinished response as cancelled.

        Returns:
            The response as it is now (a finished one stays what it was), None when there is none.
        """

    def get(self, owner: str, id: str) -> Json | None:
        """The Response object, None when there is none."""

    def delete(self, owner: str, id: str) -> bool:
        """Forgets a response; False when there was none."""

    def history(self, owner: str, id: str) -> History | None:
        """The conversation up to a response, None when there is none."""

    def items(self, owner: str, ids: Sequence[str]) -> dict[str, Json]:
        """Kept items by their ids; unknown ids are absent."""

    def history_size(self, owner: str, id: str) -> int:
        """About how many bytes the conversation up to a response is; 0 when there is none.

        An item counts ``PER_ITEM`` bytes at least, since many small ones cost as well.
        """

    def item_sizes(self, owner: str, ids: Sequence[str]) -> dict[str, int]:
        """The same for each of these items; unknown ids are absent."""

    def log(self, owner: str, id: str, after: int = -1, limit: int = 500) -> Excerpt | None:
        """Frames whose number is greater than ``after``, None when there is no such response."""

    def sweep(self) -> int:
        """Gives up abandoned responses and forgets what is beyond the limits.

        Returns:
            How many responses were forgotten.
        """


def abandoned(response: Json) -> Json:
    """How a response looks whose maker fell silent."""
    message = "The service stopped while this response was being made. Please send the request again."
    error = {"code": "server_error", "message": message}
    return {**response, "status": "failed", "error": error}


def cancelled(response: Json) -> Json:
    """How a response looks that was cancelled."""
    return {**response, "status": "cancelled"}
