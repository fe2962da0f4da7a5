"""Several streams of one request as one sequence of batches."""

from collections.abc import Iterator, Sequence
from itertools import repeat

import gevent
from gevent.queue import Queue

from codexproxy.protocol.events import Batch
from codexproxy.protocol.stream import EventStream

# Batches that may wait for a slow reader; more would be memory without an end.
_WAITING = 16

Numbered = tuple[int, Batch]


def merge(streams: Sequence[EventStream]) -> Iterator[Numbered]:
    """Batches with the number of their stream, as they come; ``[]`` for silence.

    Raises:
        ProxyError: One of the streams failed.
    """
    # One stream is the rule; it gets no generator in between.
    return zip(repeat(0), streams[0]) if len(streams) == 1 else _merged(streams)


def _merged(streams: Sequence[EventStream]) -> Iterator[Numbered]:
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
