"""The requests a worker is serving, so that it can end those that last too long, and all when it has to stop."""

import inspect
import time
from collections.abc import Callable
from typing import Any, Protocol

import gevent

from codexproxy.errors import Overloaded, ProxyError
from codexproxy.gunicorn.fast_writer import ClientStalled
from codexproxy.protocol.stream import timed_out

RETRY_AFTER = 1.0
# A turn's own clocks come first and tell it in its own words; this is for what they do not see.
GRACE = 0.5
# Seconds after which one that went on all the same is told again.
AGAIN = 5.0
_INFINITE = float("inf")


class Followed(Protocol):
    """A request, as far as it matters here.

    Attributes:
        followed: The generator of its answer, once it streams; None before.
    """

    followed: Any


def stopping() -> ProxyError:
    """What a caller is told whose request cannot be finished."""
    return Overloaded(
        "The service is being stopped or restarted. Please send the request again.", retry_after=RETRY_AFTER
    )


class Underway:
    """All requests under way in one worker, each with the greenlet that serves it.

    Args:
        longest: Seconds that a request may take, the writing of a stream included; None without a limit.
    """

    def __init__(self, longest: float | None = None) -> None:
        # In the order in which they began; no request has a timer of its own, since hardly any needs it.
        self._requests: dict[Followed, tuple[Any, float]] = {}
        self._overdue: dict[Followed, tuple[Any, float]] = {}
        self._longest = longest
        self._clock: Any = None
        self._ending = False

    def __len__(self) -> int:
        return len(self._requests) + len(self._overdue)

    def enter(self, request: Followed, *, limited: bool = True) -> Callable[[], None]:
        """Registers a request that the calling greenlet serves.

        Args:
            request: The request.
            limited: Whether it must end in time.

        Returns:
            What to call when it is over.

        Raises:
            Overloaded: The worker does not begin anything any more.
        """
        if self._ending:
            raise stopping()
        due = _INFINITE
        if limited and self._longest is not None:
            due = time.monotonic() + self._longest + GRACE
            self._clock = self._clock or gevent.spawn(self._watch)
        self._requests[request] = gevent.getcurrent(), due
        return lambda: self._left(request)

    def _left(self, request: Followed) -> None:
        self._requests.pop(request, None)
        self._overdue.pop(request, None)

    def _watch(self) -> None:
        while (due := self._next_due()) < _INFINITE:
            gevent.sleep(max(0.0, due - time.monotonic()))
            self._end_overdue(time.monotonic())
        self._clock = None

    def _next_due(self) -> float:
        # Later requests are due later, so that the first one's moment is all that has to be known.
        first = next((due for _, due in self._requests.values() if due < _INFINITE), _INFINITE)
        return min([first, *(due for _, due in self._overdue.values())])

    def _end_overdue(self, now: float) -> None:
        for request, (greenlet, due) in [*self._overdue.items(), *self._requests.items()]:
            if now < due < _INFINITE and request in self._requests:
                return
            if due <= now:
                self._requests.pop(request, None)
                self._overdue[request] = greenlet, now + AGAIN
                # Somebody who reads too slowly cannot be told so.
                gevent.kill(greenlet, ClientStalled() if _is_writing(request) else timed_out("total", self._longest))

    def end_all(self) -> None:
        """Makes every request fail with ``stopping()`` in its own greenlet, which tells its client.

        Those that are just writing to their clients are left alone, since there an error
        would only cut the line; call it again for them.
        """
        self._ending = True
        for request, (greenlet, _) in [*self._requests.items(), *self._overdue.items()]:
            if not _is_writing(request):
                self._left(request)
                gevent.kill(greenlet, stopping())


def _is_writing(request: Followed) -> bool:
    return request.followed is not None and inspect.getgeneratorstate(request.followed) != inspect.GEN_RUNNING
