"""Turns being opened in greenlets of their own, so that heartbeats can go on meanwhile."""

from collections.abc import Callable, Sequence

import gevent

from codexproxy.errors import ProxyError
from codexproxy.observability.log_context import bind_request_id, current_request_id
from codexproxy.protocol.request import Turn
from codexproxy.protocol.stream import EventStream
from codexproxy.upstream.provider import RequestSlots

Open = Callable[[Turn], EventStream]


class UpstreamCall:
    """Opens the upstream streams of one request.

    Whoever made it must ``close`` it: that frees every stream, opened or not.

    Args:
        open: Opens one turn and primes its stream.
        turns: One turn per answer the caller wants.
        party: Holds the places of several turns; closed with the streams.
    """

    def __init__(self, open: Open, turns: Sequence[Turn], party: RequestSlots | None = None) -> None:
        request_id = current_request_id()
        self._open = open
        self._party = party
        self._closed = False
        self._greenlets = [gevent.spawn(self._settled, turn, request_id) for turn in turns]

    def wait(self, seconds: float) -> bool:
        """Whether all streams are open, or failed, within so many seconds."""
        if len(self._greenlets) == 1:
            # The rule, and a fraction of the work.
            self._greenlets[0].join(seconds)
        else:
            gevent.joinall(self._greenlets, timeout=seconds)
        return all(greenlet.ready() for greenlet in self._greenlets)

    def streams(self) -> list[EventStream]:
        """The open streams, in order.

        Raises:
            ProxyError: A turn was refused.
        """
        for greenlet in self._greenlets:
            greenlet.join()
        streams: list[EventStream] = []
        for greenlet in self._greenlets:
            outcome = greenlet.value
            if isinstance(outcome, BaseException):
                raise outcome
            streams.append(outcome)
        return streams

    def close(self) -> None:
        """Stops what is still being opened and closes what is open; harmless when called twice."""
        self._closed = True
        gevent.killall([greenlet for greenlet in self._greenlets if not greenlet.ready()], block=False)
        for greenlet in self._greenlets:
            if isinstance(greenlet.value, EventStream):
                greenlet.value.close()
        if self._party is not None:
            self._party.close()

    def _settled(self, turn: Turn, request_id: str) -> EventStream | BaseException:
        # A greenlet that raises would print a traceback of its own.
        bind_request_id(request_id)
        try:
            stream = self._open(turn)
        except ProxyError as error:
            return error
        except Exception as error:  # a bug: raised again, and logged, where the request is answered
            return error
        if self._closed:
            # It was told to stop when it was about to go on, and nobody waits for it any more.
            stream.close()
        return stream
