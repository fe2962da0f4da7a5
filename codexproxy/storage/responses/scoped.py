"""One caller's stored responses."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from codexproxy.storage.responses.base import Frame, History, Json, ResponseStore, Stored
from codexproxy.storage.responses.response_log import Journal, follow


@dataclass(frozen=True, slots=True)
class OwnedResponses:
    """A store as one caller sees it.

    Attributes:
        store: Where responses are kept.
        owner: Name of the caller's key.
    """

    store: ResponseStore
    owner: str

    def save(self, response: Mapping[str, object], input: Sequence[Json], previous: str | None = None) -> None:
        """Keeps a finished response and the items of its request, each with an id."""
        self.store.save(Stored(self.owner, response, input, previous))

    def begin(self, response: Mapping[str, object], input: Sequence[Json], previous: str | None = None) -> Journal:
        """Keeps a response that is being made; what happens is told to its journal."""
        self.store.begin(Stored(self.owner, response, input, previous))
        return Journal(self.store, self.owner, str(response["id"]))

    def attend(self, id: str) -> None:
        """Says that somebody reads along at this moment."""
        self.store.attend(self.owner, id)

    def attended(self, id: str) -> float | None:
        """When somebody last read along, in epoch seconds; None when nobody did."""
        return self.store.attended(self.owner, id)

    def get(self, id: str) -> Json | None:
        """The Response object, None when there is none."""
        return self.store.get(self.owner, id)

    def delete(self, id: str) -> bool:
        """Forgets a response; False when there was none."""
        return self.store.delete(self.owner, id)

    def cancel(self, id: str) -> Json | None:
        """Ends an unfinished response as cancelled; None when there is none."""
        return self.store.cancel(self.owner, id)

    def history(self, id: str) -> History | None:
        """The conversation up to a response, None when there is none."""
        return self.store.history(self.owner, id)

    def items(self, ids: Sequence[str]) -> dict[str, Json]:
        """Stored items by their ids; unknown ids are absent."""
        return self.store.items(self.owner, ids)

    def history_size(self, id: str) -> int:
        """About how many bytes the conversation up to a response is; 0 when there is none."""
        return self.store.history_size(self.owner, id)

    def item_sizes(self, ids: Sequence[str]) -> dict[str, int]:
        """About how many bytes each of these items is; unknown ids are absent."""
        return self.store.item_sizes(self.owner, ids)

    def follow(
        self, id: str, after: int = -1, *, patience: float, sleep: Callable[[float], None]
    ) -> Iterator[list[Frame]]:
        """A response's frames behind number ``after``, to its end; ``[]`` after so many silent seconds."""
        return follow(self.store, self.owner, id, after, patience=patience, sleep=sleep)
