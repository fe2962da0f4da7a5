"""The upstream side of one request: its turns are opened in greenlets of their own, and their streams become one."""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat

import gevent
from gevent.queue import Queue

from codexproxy.errors import ProxyError
from codexproxy.observability.log_context import bind_request_id, current_request_id
from codexproxy.protocol.events import Batch
from codexproxy.protocol.request import Turn
from codexproxy.protocol.stream import EventStream
from codexproxy.upstream.provider import RequestSlots

Open = Callable[[Turn], EventStream]
Numbered = tuple[int, Batch]

# Batches that may wait for a slow reader; more would be memory without an end.
_WAITING = 16


class UpstreamCall:
    """The upstream streams of one request, being opened or open; ``close`` frees every one of them.

    Args:
        open: Opens one turn and primes its stream.
        turns: One turn per answer the caller wants.
        on_open: Called once with the streams, when all are open.
        party: Holds the places of several turns; closed with the streams.
    """

    def __init__(
        self,
        open: Open,
        turns: Sequence[Turn],
        on_open: Callable[[list[EventStream]], object],
        party: RequestSlots | None = None,
    ) -> None:
        request_id = current_request_id()
        self._open = open
        self._on_open = on_open
        self._party = party
        self._streams: list[EventStream] | None = None
        self._is_closed = False
        self._greenlets = [gevent.spawn(self._opened, turn, request_id) for turn in turns]

    def wait(self, seconds: float | None) -> bool:
        """Whether all streams are open, or failed, within so many seconds; None waits without a limit."""
        if len(self._greenlets) == 1:
            # The rule, and a fraction of the work.
            self._greenlets[0].join(seconds)
        else:
            gevent.joinall(self._greenlets, timeout=seconds)
        return all(greenlet.ready() for greenlet in self._greenlets)

    def streams(self) -> list[EventStream]:
        """The open streams, in order; waits for them.

        Raises:
            ProxyError: A turn was refused.
        """
        if self._streams is None:
            self.wait(None)
            streams: list[EventStream] = []
            for greenlet in self._greenlets:
                if isinstance(greenlet.value, BaseException):
                    raise greenlet.value
                streams.append(greenlet.value)
            self._streams = streams
            self._on_open(streams)
        return self._streams

    def batches(self, heartbeat: float | None) -> Iterator[Numbered]:
        """Batches with the number of their stream, as they come; ``[]`` for silence, also before streams are open.

        Args:
            heartbeat: Seconds of silence before the streams are open; their own patience counts afterwards.

        Raises:
            ProxyError: A turn was refused, or a stream failed.
        """
        pause: float | None = 0 if heartbeat is not None else None
        while not self.wait(pause):
            pause = heartbeat
            yield 0, []
        yield from _merged(self.streams())

    def failures(self) -> list[tuple[int, ProxyError]]:
        """The streams whose terminal event tells of a failure, by number."""
        failures = ((number, stream.failure) for number, stream in enumerate(self.streams()))
        return [(number, failure) for number, failure in failures if failure is not None]

    def close(self) -> None:
        """Stops what is still being opened and closes what is open; harmless when called twice."""
        self._is_closed = True
        gevent.killall([greenlet for greenlet in self._greenlets if not greenlet.ready()], block=False)
        for greenlet in self._greenlets:
            if isinstance(greenlet.value, EventStream):
                greenlet.value.close()
        if self._party is not None:
            self._party.close()

    def _opened(self, turn: Turn, request_id: str) -> EventStream | BaseException:
        # A greenlet that raises would print a traceback of its own.
        bind_request_id(request_id)
        try:
            stream = self._open(turn)
        except ProxyError as error:
            return error
        except Exception as error:  # a bug: raised again, and logged, where the request is answered
            return error
        if self._is_closed:
            # The call was closed when this greenlet was about to go on, so nothing reads the stream.
            stream.close()
        return stream


def _merged(streams: Sequence[EventStream]) -> Iterator[Numbered]:
    # One stream is the rule; it gets no generator in between.
    return zip(repeat(0), streams[0]) if len(streams) == 1 else _interleaved(streams)


def _interleaved(streams: Sequence[EventStream]) -> Iterator[Numbered]:
    queue: Queue[Numbered | BaseException | None] = Queue(_WAITING)
    pumps = [gevent.spawn(_pump, stream, number, queue) for number, stream in enumerate(streams)]
    try:
        ended = 0
        while ended < len(pumps):
            entry = queue.get()
            if isinstance(entry, BaseException):
                raise entry
            if entry is None:
                ended += 1
            else:
                yield entry
    finally:
        # Each pump owns its read; it has to let go before its stream is closed.
        gevent.killall(pumps)


def _pump(stream: EventStream, number: int, queue: "Queue[Numbered | BaseException | None]") -> None:
    try:
        for batch in stream:
            queue.put((number, batch))
        queue.put(None)
    except Exception as error:  # whatever it is, the request's own greenlet deals with it
        queue.put(error)
