"""The log of a response while it is made: one process writes it, any other may read along."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from codexproxy.storage.base import Frame, History, Json, ResponseStore, Stored

# Seconds that frames may wait for each other; a write each would cost more than it tells.
PAUSE = 0.1
# Seconds of silence after which the maker says that it is still there.
RENEWAL = 10.0


class ResponseLog:
    """Writes the log of one response; its store knows by that that it is being made.

    Args:
        store: Where the response was begun.
        owner: Whose it is.
        id: Which it is.
        clock: Monotonic seconds.

    Attributes:
        last: Number of the last frame; -1 before the first.
        size: Bytes that wait to be written.
    """

    def __init__(self, store: ResponseStore, owner: str, id: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._owner = owner
        self._id = id
        self._clock = clock
        self._written = clock()
        self.last = -1
        self.size = 0
        self._waiting: list[Frame] = []
        self._writing = False

    def add(self, frame: bytes, number: int | None = None) -> None:
        """Adds a frame that the client would see.

        Args:
            frame: Its bytes.
            number: Its ``sequence_number``; the next one when it has none.
        """
        self.last = number if number is not None and number > self.last else self.last + 1
        self._waiting.append((self.last, frame))
        self.size += len(frame)

    def keep_up(self, response: Json | None = None) -> bool:
        """Writes what is due; to be called after every batch, silent ones too.

        Args:
            response: What is known of the response by now, when that changed.

        Returns:
            False when nobody wants the response any more: it was cancelled, deleted, or given up.
        """
        due = PAUSE if self._waiting else RENEWAL
        if response is None and self._clock() - self._written < due:
            return True
        return self.write(response)

    def write(self, response: Json | None = None) -> bool:
        """Writes what waits, due or not; see ``keep_up``.

        Only one greenlet writes at a time, or a reader could be told a later frame first;
        what another one adds meanwhile goes with the next write.
        """
        if self._writing:
            return True
        waiting, size, self._waiting, self.size, self._writing = self._waiting, self.size, [], 0, True
        try:
            wanted = self._store.advance(self._owner, self._id, waiting, response)
        except BaseException:
            waiting += self._waiting
            self._waiting = waiting
            self.size += size
            raise
        finally:
            self._writing = False
        self._written = self._clock()
        return wanted

    def finish(self, response: Json) -> bool:
        """Writes the rest and ends the response; False when it had ended already."""
        return self._store.finish(self._owner, self._id, response, self._waiting)


def follow(
    store: ResponseStore,
    owner: str,
    id: str,
    after: int = -1,
    *,
    patience: float = 15.0,
    pause: float = PAUSE,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[list[Frame]]:
    """Reads a response's log to its end, as far behind the maker as one pause.

    Args:
        store: Where the response is.
        owner: Whose it is.
        id: Which it is.
        after: Number of the last frame that the reader has.
        patience: Seconds of silence after which ``[]`` is yielded.
        pause: Seconds between two looks.
        sleep: Waits that many seconds.

    Yields:
        Frames in order. The log may end without a terminal event: its maker
        died, or the response was cancelled or deleted.
    """
    silent = 0.0
    while (excerpt := store.log(owner, id, after)) is not None:
        if excerpt.frames:
            after, silent = excerpt.frames[-1][0], 0.0
            yield excerpt.frames
        if excerpt.is_last:
            return
        if not excerpt.frames:
            sleep(pause)
            silent += pause
        if silent >= patience:
            silent = 0.0
            yield []


# Bytes of an item that are digested at once.
_DIGESTED = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """An item as it is kept: its id apart, so that what is resent under a new id is kept once.

    Attributes:
        item: The item's id, None when it has none.
        hash: Digest of the rest.
        body: The rest as JSON.
    """

    item: str | None
    hash: bytes
    body: bytes


def encode(value: Any) -> bytes:
    """JSON bytes; lone surrogates, which orjson refuses, are escaped."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def decode(data: bytes) -> Json:
    """The JSON object that ``encode`` wrote."""
    try:
        value: Json = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = json.loads(data)
    return value


def content_of(item: Mapping[str, Any], pause: Callable[[], None] = lambda: None) -> Content:
    """An item as it is kept.

    Args:
        item: The item.
        pause: Lets others run, now and then where the item is large.
    """
    id = item.get("id")
    body = encode({name: value for name, value in item.items() if name != "id"})
    digest = hashlib.blake2b(body[:_DIGESTED], digest_size=16)
    for start in range(_DIGESTED, len(body), _DIGESTED):
        pause()
        digest.update(body[start : start + _DIGESTED])
    return Content(id if isinstance(id, str) else None, digest.digest(), body)


def owned_hash(owner: str, content: Content) -> bytes:
    """The digest under which an owner's content is kept; the same content of two owners is kept twice."""
    key = owner.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content.hash + key, digest_size=16).digest()


def item_of(id: str | None, body: bytes) -> Json:
    """The item that ``content_of`` took apart."""
    rest = decode(body)
    return rest if id is None else {"id": id, **rest}


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

    def begin(self, response: Mapping[str, object], input: Sequence[Json], previous: str | None = None) -> ResponseLog:
        """Keeps a response that is being made; its journal records what happens."""
        self.store.begin(Stored(self.owner, response, input, previous))
        return ResponseLog(self.store, self.owner, str(response["id"]))

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
