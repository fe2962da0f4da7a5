"""The requests a worker is serving, so that it can end them properly when it has to stop."""

import inspect
from collections.abc import Callable
from typing import Any, Protocol

import gevent

from codexproxy.errors import Overloaded, ProxyError

RETRY_AFTER = 1.0


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
    """All requests under way in one worker, each with the greenlet that serves it."""

    def __init__(self) -> None:
        self._requests: dict[Followed, Any] = {}
        self._ending = False

    def __len__(self) -> int:
        return len(self._requests)

    def enter(self, request: Followed) -> Callable[[], None]:
        """Registers a request that the calling greenlet serves.

        Returns:
            What to call when it is over.

        Raises:
            Overloaded: The worker does not begin anything any more.
        """
        if self._ending:
            raise stopping()
        self._requests[request] = gevent.getcurrent()
        return lambda: self._requests.pop(request, None)

    def end_all(self) -> None:
        """Makes every request fail with ``stopping()`` in its own greenlet, which tells its client.

        Those that are just writing to their clients are left alone, since there an error
        would only cut the line; call it again for them.
        """
        self._ending = True
        for request, greenlet in list(self._requests.items()):
            if not _is_writing(request):
                del self._requests[request]
                gevent.kill(greenlet, stopping())


def _is_writing(request: Followed) -> bool:
    return request.followed is not None and inspect.getgeneratorstate(request.followed) != inspect.GEN_RUNNING


def underway_in(app: Any) -> Underway:
    """The requests under way in an application; none for one that is not ours."""
    found = getattr(app, "extensions", {}).get("codexproxy.underway")
    return found if isinstance(found, Underway) else Underway()
