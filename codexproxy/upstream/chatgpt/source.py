"""A response's body as a source of events."""

import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from codexproxy.errors import ProxyError, UpstreamFailed
from codexproxy.protocol.events import TERMINAL, Batch
from codexproxy.protocol.stream import Deadlines, timed_out
from codexproxy.upstream.chatgpt.body import Body, Wait, body_of
from codexproxy.upstream.chatgpt.sse import Decoder, Skipped, untold

# Seconds granted to the last, empty HTTP chunk behind the terminal event, so
# that the connection can be used again; it nearly always came with it.
GRACE = 0.005

# Names are upstream's own; the log is not to hold any number of them.
_MOST_NAMES = 50

log = logging.getLogger(__name__)


class SkippedEvents:
    """Counts messages of one upstream that are no events, and warns once of each name.

    Args:
        backend: The provider's name.
        count: Counts one for a provider.
    """

    def __init__(self, backend: str, count: Callable[[str], object]) -> None:
        self._backend = backend
        self._count = count
        self._warned: set[str] = set()

    def __call__(self, name: str) -> None:
        """Takes the event name of a message that was passed over; ``message`` where it had none."""
        self._count(self._backend)
        if name not in self._warned and len(self._warned) < _MOST_NAMES:
            self._warned.add(name)
            log.warning(
                "upstream '%s' sent an event '%s' that is not JSON; it is skipped, and so are further ones",
                self._backend,
                name[:100],
            )


class ResponseSource:
    """Events from one streamed response (``protocol.stream.Source``).

    Args:
        response: The streamed response, status 200.
        deadlines: The turn's clocks, started with the request.
        wait: See ``body_of``.
        clock: Monotonic seconds.
        skipped: Told of what is passed over, see ``Decoder``.
    """

    __slots__ = ("_body", "_clock", "_deadlines", "_decoder", "_ended", "_flows", "_response", "_whole")

    def __init__(
        self,
        response: requests.Response,
        deadlines: Deadlines,
        wait: Wait,
        clock: Callable[[], float],
        skipped: Skipped = untold,
    ) -> None:
        # The response is kept: were it collected, the stream would die in the middle.
        self._response = response
        # A conversation is long, and whoever may have to ask again keeps it.
        cast(Any, response).request = None
        self._deadlines = deadlines
        self._clock = clock
        self._decoder = Decoder(skipped)
        self._body: Body = body_of(response, wait)
        self._ended = False
        self._whole = False
        self._flows = False

    def read(self, patience: float) -> Batch | None:
        """See ``Source.read``.

        Raises:
            UpstreamTimeout: The first-event, idle or total limit ran out.
            UpstreamFailed: The connection broke, or something came that is no event.
        """
        if self._decoder.fault is not None:
            raise self._decoder.fault
        if self._ended:
            return None
        deadlines = self._deadlines
        now = self._clock()
        until = now + patience
        while True:
            left = deadlines.left(now)
            try:
                data = self._body.read(patience if patience < left else left)
            except (requests.RequestException, HTTPError, OSError) as error:
                self._ended = True
                raise broken(error, deadlines) from error
            now = self._clock()
            if data:
                batch = self._decoder.feed(data)
                if batch:
                    self._flows = True
                    self._whole = batch[-1].type in TERMINAL
                    deadlines.heard(now)
                    return batch
                # A comment says that a connection lives, not that upstream works; a large event may come slowly.
                if self._flows and self._decoder.has_begun_event:
                    deadlines.heard(now)
            elif data is None:
                self._ended = True
                return self._decoder.end() or None
            patience = until - now
            if patience <= 0:
                return []

    def close(self) -> None:
        """Gives the connection back when the answer is whole and its body at its end, else closes it."""
        if self._whole and not self._ended:
            self._ended = True
            # The answer is complete; how its connection ends changes nothing.
            with suppress(requests.RequestException, HTTPError, OSError):
                self._body.read(GRACE)
        self._response.close()


def broken(error: Exception, deadlines: Deadlines) -> ProxyError:
    """What a failed read means to the caller."""
    reason = error.args[0] if error.args else None
    if isinstance(error, requests.Timeout | socket.timeout) or isinstance(reason, ReadTimeoutError):
        return timed_out("idle", deadlines.limits.idle)
    return UpstreamFailed(
        "The connection to upstream broke before the answer was complete. Please try again.",
        code="upstream_truncated",
    )
