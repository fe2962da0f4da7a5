"""One attempt to run a turn at one provider, judged by its first meaningful event."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from codexproxy.compat.encrypted_content import has_ciphertext, without_encrypted_reasoning
from codexproxy.errors import ProxyError, UpstreamFailed, UpstreamTimeout
from codexproxy.metering.charge import begin_charge, charged
from codexproxy.protocol.aggregate import aggregate, is_missing_output
from codexproxy.protocol.error_mapping import failure_of
from codexproxy.protocol.events import COMPLETED, PREAMBLE, Batch
from codexproxy.protocol.request import Turn
from codexproxy.protocol.stream import EventStream
from codexproxy.upstream.provider import Provider

# How the names of headers end that tell how much of a window is used (docs/reference/quota.md#response-headers).
QUOTA_HEADER = "-used-percent"

REASONING_REMOVED = "encrypted_reasoning:removed"

# Changes a turn that a provider refused so that it can be sent there again; None when it cannot help.
Healer = Callable[[Turn, ProxyError, str], Turn | None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt; as a context, freed when an exception ends it, since the caller may leave any time.

    Attributes:
        provider: Who was asked.
        sent: The turn as it was sent there.
        stream: The answer, open; None when there is none.
        error: Why it is no good; None for a good one.
        inside: Whether upstream told the failure inside a 200.
        seconds: How long it took.
    """

    provider: Provider
    sent: Turn
    stream: EventStream | None = None
    error: ProxyError | None = None
    inside: bool = False
    seconds: float = 0.0

    def __enter__(self) -> "Outcome":
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        if kind is not None:
            self.close()

    def close(self) -> None:
        """Frees the answer that is not used."""
        if self.stream is not None:
            self.stream.close()

    def result(self, asked: Turn) -> EventStream:
        """The last word on a turn: its stream, or the failure as an exception.

        Args:
            asked: The turn as it came to the router.

        Raises:
            ProxyError: The failure, unless upstream told it inside a 200 and the client acts on such.
        """
        forwarded = self.inside and asked.routing.forwards_failures
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


def attempt(provider: Provider, turn: Turn, clock: Callable[[], float]) -> Outcome:
    """Asks a provider and waits for its first meaningful event.

    Whatever is raised from here leaves nothing open behind it: the caller may
    be gone, or the process end, at any moment of the wait.

    Args:
        provider: Who is asked.
        turn: What is sent.
        clock: Monotonic seconds.
    """
    began = clock()
    charge = begin_charge(turn)
    stream: EventStream | None = None
    try:
        stream = provider.open(charged(turn, charge))
        stream.heard = charge.heard
        held = stream.prime()
        error, inside = failure_among(held)
        if error is not None:
            charge.heard(held)
            error.quota_told = any(name.endswith(QUOTA_HEADER) for name in stream.answerer.headers)
    except ProxyError as failure:
        # Upstream is at work still when our own patience ends.
        if stream is None or not isinstance(failure, UpstreamTimeout):
            charge.refused()
        _close(stream)
        return Outcome(provider, turn, None, failure, False, clock() - began)
    except BaseException:
        _close(stream)
        raise
    return Outcome(provider, turn, stream, error, inside, clock() - began)


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


def drop_encrypted_reasoning(turn: Turn, error: ProxyError, provider: str) -> Turn | None:
    """The turn without reasoning that its account cannot read; None when that was not the trouble.

    The refusal's code is missing at times, so its message counts as well
    (docs/reference/requests.md#encrypted-reasoning).
    """
    told = error.code == "invalid_encrypted_content" or "encrypted_content" in error.message
    if not told or not has_ciphertext(turn.body):
        return None
    return stripped(turn)


def stripped(turn: Turn) -> Turn | None:
    """The turn without encrypted reasoning, which is noted; None when it holds none."""
    body = without_encrypted_reasoning(turn.body)
    if body is turn.body:
        return None
    return replace(turn, body=body).with_notes(adapted=(REASONING_REMOVED,))
