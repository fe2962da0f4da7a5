"""The log of a response while it is made: one process writes it, any other may read along."""

import time
from collections.abc import Callable, Iterator

from codexproxy.storage.responses.base import Frame, Json, ResponseStore

# Seconds that frames may wait for each other; a write each would cost more than it tells.
PAUSE = 0.1
# Seconds of silence after which the maker says that it is still there.
RENEWAL = 10.0


class Journal:
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
