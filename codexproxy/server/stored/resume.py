"""Reads the stream of a stored response, from any event on, while it is made or later."""

import time
from collections.abc import Callable, Iterator, Sequence

import gevent

from codexproxy.apis.openai_responses.stored import broken, closing, is_end
from codexproxy.errors import ProxyError
from codexproxy.server.responses import HEARTBEAT
from codexproxy.storage.stored_responses import OwnedResponses

# Seconds after which a reader says again that it is there.
STILL_HERE = 1.0

# A frame with the number of its last event.
Frame = tuple[int, bytes]


class ResumeReader:
    """Follows one response for a client: the source of its frames, and the sink that ends its stream.

    Args:
        mine: The store, as the caller sees it.
        id: The response.
        after: Number of the last event that the client has; -1 for none.
        is_awaited: Whether its maker may be waiting for somebody to read along.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        mine: OwnedResponses,
        id: str,
        after: int,
        is_awaited: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mine = mine
        self._id = id
        self._last = after
        self._has_ended = False
        self._is_awaited = is_awaited
        self._clock = clock
        self._said = float("-inf")

    def batches(self, heartbeat: float | None) -> Iterator[tuple[int, list[Frame]]]:
        """The frames behind the client's last event as they come, up to the end of the response."""
        patience = STILL_HERE if heartbeat is None else min(heartbeat, STILL_HERE)
        spoke = self._clock()
        self._attend()
        for frames in self._mine.follow(self._id, self._last, patience=patience, sleep=gevent.sleep):
            self._attend()
            if frames or (heartbeat is not None and self._clock() - spoke >= heartbeat):
                spoke = self._clock()
                yield 0, frames

    def failures(self) -> Sequence[tuple[int, ProxyError]]:
        """None: a stored failure is a frame like others."""
        return ()

    def take(self, number: int, frames: list[Frame]) -> bytes:
        """The bytes of these frames."""
        self._last, self._has_ended = frames[-1][0], is_end(frames[-1][1])
        return b"".join(frame for _, frame in frames)

    def silence(self) -> bytes:
        """A heartbeat."""
        return HEARTBEAT

    def fail(self, number: int, error: ProxyError) -> bytes:
        """The end of a response that cannot be followed any more."""
        return broken(error, self._last)

    def end(self) -> bytes:
        """The end of a response whose log lacks one."""
        return b"" if self._has_ended else closing(self._mine.get(self._id), self._last, self._id)

    def _attend(self) -> None:
        if self._is_awaited and self._clock() - self._said >= STILL_HERE:
            self._said = self._clock()
            self._mine.attend(self._id)
