"""One attempt to run a turn at one provider, judged by its first meaningful event."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from codexproxy.errors import ProxyError, UpstreamFailed, UpstreamTimeout
from codexproxy.metering.charge import begin_charge, with_charge
from codexproxy.protocol.aggregate import aggregate, is_missing_output
from codexproxy.protocol.error_mapping import failure_of
from codexproxy.protocol.events import COMPLETED, PREAMBLE, Batch
from codexproxy.protocol.request import Turn
from codexproxy.protocol.stream import EventStream
from codexproxy.upstream.provider import Provider

# How the names of headers end that tell how much of a window is used (docs/reference/quota.md#response-headers).
QUOTA_HEADER = "-used-percent"


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The result of one attempt; as a context manager it closes the stream when an exception ends the block.

    Attributes:
        provider: Who was asked.
        sent: The turn as it was sent there.
        stream: The answer, open; None when there is none.
        error: Why it is no good; None for a good one.
        failed_in_stream: Whether upstream reported the failure inside a 200.
        seconds: How long it took.
    """

    provider: Provider
    sent: Turn
    stream: EventStream | None = None
    error: ProxyError | None = None
    failed_in_stream: bool = False
    seconds: float = 0.0

    def __enter__(self) -> "AttemptResult":
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        if kind is not None:
            self.close()

    def close(self) -> None:
        """Frees the answer that is not used."""
        if self.stream is not None:
            self.stream.close()

    def answer(self, asked: Turn) -> EventStream:
        """The stream that answers a turn, with the notes for the caller.

        Args:
            asked: The turn as it came to the router.

        Raises:
            ProxyError: The failure, unless upstream reported it inside a 200 and the client acts on such events.
        """
        forwarded = self.failed_in_stream and asked.routing.forwards_failures
        if self.stream is not None and (self.error is None or forwarded):
            answerer = self.stream.answerer
            known = {*asked.adapted, *asked.ignored}
            self.stream.answerer = replace(
                answerer,
                backend=self.provider.name,
                adapted=tuple(note for note in self.sent.adapted if note not in known),
                ignored=answerer.ignored + tuple(note for note in self.sent.ignored if note not in known),
            )
            return self.stream
        self.close()
        failure = self.error or UpstreamFailed("Upstream gave no answer. Please try again.")
        failure.backend = self.provider.name
        raise failure


def attempt(provider: Provider, turn: Turn, clock: Callable[[], float]) -> AttemptResult:
    """Asks a provider and waits for its first meaningful event.

    Whatever is raised from here leaves nothing open behind it: the caller may
    be gone, or the process end, at any moment of the wait.

    Args:
        provider: Who is asked.
        turn: What is sent.
        clock: Monotonic seconds.
    """
    began = clock()
    charge = begin_charge(turn, provider.name)
    stream: EventStream | None = None
    try:
        stream = provider.open(with_charge(turn, charge))
        stream.heard = charge.heard
        first = stream.prime()
        error, in_stream = failure_among(first)
        if error is not None:
            charge.heard(first)
            error.quota_told = any(name.endswith(QUOTA_HEADER) for name in stream.answerer.headers)
    except ProxyError as failure:
        # Upstream is at work still when our own patience ends.
        if stream is None or not isinstance(failure, UpstreamTimeout):
            charge.refused()
        _close(stream)
        return AttemptResult(provider, turn, None, failure, False, clock() - began)
    except BaseException:
        _close(stream)
        raise
    return AttemptResult(provider, turn, stream, error, in_stream, clock() - began)


def _close(stream: EventStream | None) -> None:
    if stream is not None:
        stream.close()


def failure_among(held: Batch) -> tuple[ProxyError | None, bool]:
    """Why the first events of a stream are no answer, and whether upstream said so itself.

    Upstream may refuse inside a 200 (docs/reference/stream.md#refusals-inside-a-200), and may complete an answer
    that holds nothing at all (docs/reference/clients.md#empty-answers). Only the first meaningful event
    counts, so that it makes no difference how the network cut the stream.

    Args:
        held: The events.
    """
    first = next((event for event in held if event.type not in PREAMBLE), None)
    if first is None:
        return None, False
    failure = failure_of(first)
    if failure is not None:
        return failure, True
    if first.type in (COMPLETED, "response.done") and is_missing_output(aggregate([held])):
        return UpstreamFailed("Upstream completed the turn with an empty answer.", code="empty_response"), False
    return None, False
