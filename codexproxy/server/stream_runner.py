"""The one loop that drives an answer to its end: heartbeats, events, failures, disconnects.

A source yields what comes, live from upstream, from a background run or from the store; a sink makes the bytes of
it that a client reads, or collects it. Every answer passes through here, so each of them ends exactly once and its
end is noted in one place.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import gevent

from codexproxy.apis.base import Renderer
from codexproxy.errors import ProxyError
from codexproxy.protocol.events import Batch
from codexproxy.server.bug_errors import internal_error
from codexproxy.server.responses import HEARTBEAT
from codexproxy.server.stored.response_service import ResponseSaver

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)

log = logging.getLogger(__name__)


class Source(Protocol[T_co]):
    """Where an answer comes from."""

    def batches(self, heartbeat: float | None) -> Iterator[tuple[int, T_co]]:
        """What comes, each with the number of its answer; something empty after ``heartbeat`` silent seconds.

        Raises:
            ProxyError: It cannot go on.
        """

    def failures(self) -> Sequence[tuple[int, ProxyError]]:
        """Answers that ended with a failure, by number; asked after the end."""


class Sink(Protocol[T_contra]):
    """What becomes of an answer. Each method returns the bytes that the client reads, ``b""`` for nothing."""

    def take(self, number: int, batch: T_contra) -> bytes:
        """Takes what came.

        Raises:
            ProxyError: The answer is unusable; ``fail`` follows.
        """

    def silence(self) -> bytes:
        """Nothing came for a while."""

    def fail(self, number: int, error: ProxyError) -> bytes:
        """Ends one answer with a failure; may raise it where nothing has left yet."""

    def end(self) -> bytes:
        """Ends answers that did not fail."""


class Outcome(Protocol):
    """Takes note of how an answer ends: a request, or a turn that outlives its own."""

    request_id: str

    def failed(self, error: ProxyError) -> None:
        """Notes the error that ended it."""

    def client_left(self) -> None:
        """Notes that its client disconnected."""


class StreamRunner(Generic[T]):
    """Drives one source into one sink.

    Args:
        source: Where the answer comes from.
        sink: What becomes of it.
        outcome: Takes note of how it ends.
        heartbeat: Seconds of silence after which the sink is called; None for an answer that nobody reads along.
    """

    def __init__(self, source: Source[T], sink: Sink[T], outcome: Outcome, heartbeat: float | None = None) -> None:
        self._source = source
        self._sink = sink
        self._outcome = outcome
        self._heartbeat = heartbeat

    def pieces(self) -> Iterator[bytes]:
        """The bytes that the client reads, up to the end of the answer.

        Raises:
            ProxyError: Only where the sink raises its failure.
        """
        sink, outcome, number = self._sink, self._outcome, 0
        take = sink.take
        try:
            for number, batch in self._source.batches(self._heartbeat):
                piece = take(number, batch) if batch else sink.silence()
                if piece:
                    yield piece
            failures = self._source.failures()
            for number, failure in failures:
                outcome.failed(failure)
                yield sink.fail(number, failure)
            if not failures and (piece := sink.end()):
                yield piece
        except ProxyError as error:
            outcome.failed(error)
            yield sink.fail(number, error)
        except (GeneratorExit, gevent.GreenletExit):
            outcome.client_left()
            raise
        except Exception:  # A bug must still end the answer with a reason.
            log.exception("bug in a stream")
            bug = internal_error(outcome.request_id)
            outcome.failed(bug)
            yield sink.fail(number, bug)

    def run(self) -> None:
        """Drives an answer to its end that nobody reads along.

        Raises:
            ProxyError: Only where the sink raises its failure.
        """
        for _ in self.pieces():
            pass


class RenderingSink:
    """Renders events for the client that reads along.

    Args:
        renderers: One per answer.
        saver: Saves the answer before its last bytes leave; None where it is not stored.
    """

    def __init__(self, renderers: Sequence[Renderer], saver: ResponseSaver | None = None) -> None:
        self._renderers = renderers
        self._saver = saver

    def take(self, number: int, batch: Batch) -> bytes:
        """The bytes of these events; see ``Renderer.render``."""
        if self._saver is not None:
            self._saver.note(batch)
        return self._renderers[number].render(batch)

    def silence(self) -> bytes:
        """A heartbeat."""
        return HEARTBEAT

    def fail(self, number: int, error: ProxyError) -> bytes:
        """The failure, and the end of the stream; a bare ``error`` event is not an end to every client."""
        return self._renderers[number].fail(error)

    def end(self) -> bytes:
        """Nothing: the batch with the terminal event holds the end."""
        return b""
