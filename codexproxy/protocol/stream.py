"""An answer under way: batches of events that end exactly once, and the clocks that limit it.

Connect, first event, idle and total are separate limits.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Protocol

from codexproxy.errors import ProxyError, UpstreamFailed, UpstreamTimeout
from codexproxy.protocol.error_mapping import failure_of
from codexproxy.protocol.events import ERROR, PREAMBLE, TERMINAL, Batch, Event

# A ``response.failed`` may follow a bare ``error`` event (seen in recordings);
# it is waited for this long, in seconds, since the socket may stay open (U8).
LINGER = 1.0

_type = attrgetter("type")


class Source(Protocol):
    """Where events come from; one greenlet at a time reads it."""

    def read(self, patience: float) -> Batch | None:
        """Events that have arrived; ``[]`` after ``patience`` silent seconds; None at the end."""

    def close(self) -> None:
        """Frees the upstream connection; harmless when called twice."""


@dataclass(frozen=True, slots=True)
class ResponseMetadata:
    """Who answers, as far as the first response headers tell.

    Attributes:
        backend: Name of the provider that runs the turn.
        headers: Upstream's response headers, names in lower case.
        adapted: What was changed on the way to it, for ``x-codexproxy-adapted``.
        ignored: What it does not honour, for ``x-codexproxy-ignored``.
    """

    backend: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    adapted: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


class EventStream:
    """Batches of events from one source.

    Iteration yields each network read's events as one list and ``[]`` when
    ``patience`` seconds passed in silence. It ends right after the terminal
    event, without waiting for the end of the source (docs/reference/stream.md#terminal-events).

    Args:
        source: Where events come from; closed with the stream.
        patience: Seconds of silence after which iteration yields ``[]``.
        answerer: Who answers.
    """

    def __init__(self, source: Source, patience: float = 15.0, answerer: ResponseMetadata = ResponseMetadata()) -> None:
        self.answerer = answerer
        self.patience = patience
        self.terminal: Event | None = None
        # Told of each batch before the reader has it, since the reader may leave with it.
        self.heard: Callable[[Batch], object] | None = None
        self._source = source
        self._held: Batch = []
        self._closers: list[Callable[[], object]] = []

    @property
    def failure(self) -> ProxyError | None:
        """The failure that the terminal event tells of; None before it, and for an answer that succeeded."""
        return failure_of(self.terminal) if self.terminal is not None else None

    def on_close(self, close: Callable[[], object]) -> None:
        """Frees something else together with the stream; called once."""
        self._closers.append(close)

    def prime(self) -> Batch:
        """Reads until the first meaningful event and holds all that came.

        Returns:
            What is held, so that the opener can look for a refusal in it.

        Raises:
            ProxyError: The source failed, or ended without a terminal event.
        """
        while PREAMBLE.issuperset(map(_type, self._held)):
            batch = self._source.read(self.patience)
            if batch is None:
                raise incomplete_stream_error()
            self._held += batch
        return self._held

    def __iter__(self) -> Iterator[Batch]:
        read, patience, heard = self._source.read, self.patience, self.heard
        batch: Batch | None = self._held or read(patience)
        self._held = []
        while batch is not None:
            # One event that ends nothing is the rule, and 50 times a second.
            if len(batch) != 1 or batch[0].type in TERMINAL:
                batch = self._until_terminal(batch)
            if heard is not None:
                heard(batch)
            yield batch
            if self.terminal is not None:
                if self.terminal.type != ERROR or not batch:
                    return
                patience = LINGER
            batch = read(patience)
        if self.terminal is None:
            raise incomplete_stream_error()

    def _until_terminal(self, batch: Batch) -> Batch:
        for position, event in enumerate(batch):
            if event.type in TERMINAL:
                self.terminal = event
                if event.type != ERROR:
                    return batch[: position + 1]
        return batch

    def close(self) -> None:
        """Frees the source; safe to call at any time, also twice."""
        try:
            self._source.close()
        finally:
            while self._closers:
                self._closers.pop()()


def incomplete_stream_error() -> UpstreamFailed:
    """The failure of a stream that stopped without a terminal event."""
    return UpstreamFailed(
        "Upstream ended the stream before the answer was complete. Please try again.",
        code="upstream_truncated",
    )


_INFINITE = float("inf")


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Limits in seconds; None means none.

    Attributes:
        connect: Until the connection stands.
        first_event: From the request until upstream's first event.
        idle: Between two events, or parts of one, once events flow.
        total: From the request until the end of the answer.
    """

    connect: float | None = 10.0
    first_event: float | None = 120.0
    idle: float | None = 300.0
    total: float | None = 600.0


class Deadlines:
    """The clocks of one turn.

    Args:
        limits: The limits to hold.
        now: Monotonic seconds at the start of the turn.
    """

    def __init__(self, limits: TimeLimits, now: float) -> None:
        self.limits = limits
        self._idle = _INFINITE if limits.idle is None else limits.idle
        self._end = _INFINITE if limits.total is None else now + limits.total
        self._waiting_for = "first event"
        # Asked before every read, so only the nearest limit is kept.
        self._due = self._end if limits.first_event is None else min(now + limits.first_event, self._end)

    def heard(self, now: float) -> None:
        """Upstream sent an event, or a part of one: the idle clock starts again.

        Heartbeats never do this, neither our own nor upstream's.
        """
        self._waiting_for = "idle"
        due = now + self._idle
        self._due = due if due < self._end else self._end

    def left(self, now: float) -> float:
        """Seconds until the nearest limit.

        Raises:
            UpstreamTimeout: A limit has passed; the message names it.
        """
        left = self._due - now
        if left <= 0:
            raise self.overdue()
        return left

    def is_due(self, now: float) -> bool:
        """Whether a limit has passed."""
        return now >= self._due

    def overdue(self) -> UpstreamTimeout:
        """The error for the limit that runs out next."""
        if self._due == self._end:
            return timed_out("total", self.limits.total)
        idle = self._waiting_for == "idle"
        return timed_out(self._waiting_for, self.limits.idle if idle else self.limits.first_event)


def timed_out(name: str, limit: float | None) -> UpstreamTimeout:
    """The error for a limit that ran out, named in the message."""
    seconds = f" of {limit:g} seconds" if limit is not None else ""
    return UpstreamTimeout(f"Upstream did not answer in time: the {name} limit{seconds} was reached. Please try again.")
