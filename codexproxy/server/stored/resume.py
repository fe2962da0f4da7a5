"""Reading a stored response's stream, from any event on, while it is made or later."""

import time
from collections.abc import Callable, Iterator

import gevent

from codexproxy.apis.openai_responses.stored import broken, closing, is_end
from codexproxy.errors import ProxyError
from codexproxy.server.request_context import RequestContext
from codexproxy.server.responses import HEARTBEAT
from codexproxy.storage.responses.scoped import OwnedResponses

# Seconds after which a reader says again that it is there.
STILL_HERE = 1.0


class ResumeReader:
    """Follows one response for a client.

    Args:
        mine: The store, as the caller sees it.
        id: The response.
        is_awaited: Whether its maker may be waiting for somebody to read along.
        clock: Monotonic seconds.
    """

    def __init__(
        self, mine: OwnedResponses, id: str, is_awaited: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._mine = mine
        self._id = id
        self._is_awaited = is_awaited
        self._clock = clock
        self._said = float("-inf")

    def read(self, after: int, heartbeat: float, context: RequestContext) -> Iterator[bytes]:
        """The frames behind number ``after`` as they come, up to the response's end."""
        last, ended, spoke = after, False, self._clock()
        try:
            self._attend()
            for frames in self._mine.follow(self._id, after, patience=min(heartbeat, STILL_HERE), sleep=gevent.sleep):
                self._attend()
                if frames:
                    last, ended, spoke = frames[-1][0], is_end(frames[-1][1]), self._clock()
                    yield b"".join(frame for _, frame in frames)
                elif self._clock() - spoke >= heartbeat:
                    spoke = self._clock()
                    yield HEARTBEAT
            if not ended:
                yield closing(self._mine.get(self._id), last, self._id)
        except ProxyError as error:
            context.failed(error)
            yield broken(error, last)

    def _attend(self) -> None:
        if self._is_awaited and self._clock() - self._said >= STILL_HERE:
            self._said = self._clock()
            self._mine.attend(self._id)
