"""Which providers are worth asking: cooldowns and a circuit breaker.

A provider is left alone until the reset time upstream named. Several failures
in a row, of more than one conversation, open its breaker: for everybody when
more than one caller met them, else for that caller alone. When the pause is
over one turn probes it, and what becomes of that decides.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from codexproxy.errors import ProxyError
from codexproxy.upstream.router.retry_policy import disposition_of, seconds_until_reset

# Failures in a row that open the breaker, from at least this many conversations:
# one caller's turn that always fails must not shut out everybody else.
THRESHOLD = 3
CONVERSATIONS = 2
# The breaker's pause in seconds: doubled after every failed probe, up to the longest.
FIRST_PAUSE = 10.0
LONGEST_PAUSE = 300.0
# A probe that never reported back (its process was cut) is forgotten after this.
PROBE_PATIENCE = 120.0


@dataclass(slots=True)
class Condition:
    """What is known of one provider; times are monotonic seconds.

    Attributes:
        cooling_until: Upstream's own reset time.
        failures: Failures since the last success.
        conversations: The conversations they were of.
        callers: Whose conversations those were.
        open_until: When the breaker lets a probe through.
        pauses: How often it opened in a row.
        probe_began: When the probe under way began.
        reason: The last failure that spoke against the provider.
    """

    cooling_until: float = 0.0
    failures: int = 0
    conversations: set[str] = field(default_factory=set)
    callers: set[str] = field(default_factory=set)
    open_until: float = 0.0
    pauses: int = 0
    probe_began: float | None = None
    reason: ProxyError | None = None

    def is_broken(self, caller: str = "") -> bool:
        """Whether the breaker is open for a caller, or for any when none is named, or waits for its probe."""
        several = self.failures >= THRESHOLD and len(self.conversations) >= CONVERSATIONS
        return several and (not caller or caller in self.callers or len(self.callers) > 1)


class Health:
    """The conditions of all providers, as this process sees them.

    Args:
        clock: Monotonic seconds.
        wall: Epoch seconds, to which upstream's reset times refer.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self._conditions: dict[str, Condition] = {}

    def is_usable(self, name: str, caller: str = "") -> bool:
        """Whether a turn of this caller could go there now."""
        condition = self._conditions.get(name)
        return condition is None or self._wait(condition, caller) == 0.0

    def is_warm(self, name: str) -> bool:
        """Whether upstream itself has nothing against a turn now, whatever our breaker says."""
        condition = self._conditions.get(name)
        return condition is None or condition.cooling_until <= self._clock()

    def admit(self, name: str, caller: str = "") -> bool:
        """Takes a caller's turn for this provider; of a half-open breaker only one at a time."""
        if not self.is_usable(name, caller):
            return False
        condition = self._of(name)
        if condition.is_broken(caller):
            condition.probe_began = self._clock()
        return True

    def succeeded(self, name: str) -> None:
        """The provider answered: whatever spoke against it is over."""
        self._conditions.pop(name, None)

    def failed(self, name: str, error: ProxyError, conversation: str, *, inside: bool, caller: str = "") -> None:
        """The provider failed.

        Args:
            name: The provider.
            error: How.
            conversation: The conversation of the turn.
            inside: Whether the failure came inside a 200.
            caller: Whose turn it was.
        """
        row = disposition_of(error)
        condition = self._of(name)
        if row.pause:
            pause = seconds_until_reset(error, self._wall())
            condition.cooling_until = self._clock() + (row.pause if pause is None else pause)
            condition.reason = error
        if row.counts and (row.counts_inside or not inside):
            condition.reason = error
            self._count(condition, conversation, caller)
        condition.probe_began = None

    def release(self, name: str) -> None:
        """A turn ended without saying anything about the provider."""
        condition = self._conditions.get(name)
        if condition is not None:
            condition.probe_began = None

    def forget(self, name: str) -> None:
        """Forgets everything that spoke against a provider, when its owner knows better."""
        self._conditions.pop(name, None)

    def reason(self, name: str) -> ProxyError | None:
        """A fresh error that tells why a provider is not asked now, and for how long."""
        condition = self._conditions.get(name)
        if condition is None or condition.reason is None:
            return None
        return renewed(condition.reason, self._wait(condition))

    def wait(self, name: str) -> float:
        """Seconds until a provider can be asked again."""
        condition = self._conditions.get(name)
        return self._wait(condition) if condition else 0.0

    def _of(self, name: str) -> Condition:
        return self._conditions.setdefault(name, Condition())

    def _count(self, condition: Condition, conversation: str, caller: str) -> None:
        condition.failures += 1
        # Only "one" or "more than one" matters, so the sets stay small.
        for seen, one in ((condition.conversations, conversation), (condition.callers, caller)):
            if len(seen) < CONVERSATIONS:
                seen.add(one)
        if condition.is_broken(caller):
            pause = min(FIRST_PAUSE * 2**condition.pauses, LONGEST_PAUSE)
            condition.open_until = self._clock() + pause
            condition.pauses += 1

    def _wait(self, condition: Condition, caller: str = "") -> float:
        now = self._clock()
        wait = condition.cooling_until - now
        if condition.is_broken(caller):
            wait = max(wait, condition.open_until - now)
            if condition.probe_began is not None:
                wait = max(wait, condition.probe_began + PROBE_PATIENCE - now)
        return max(0.0, wait)


def renewed(error: ProxyError, retry_after: float, message: str | None = None) -> ProxyError:
    """The same failure as a new exception, with the time that is left now, in other words if given."""
    extra = dict(error.extra)
    if "resets_in_seconds" in extra:
        extra["resets_in_seconds"] = round(retry_after)
    fresh = type(error)(
        message or error.message,
        code=error.code,
        param=error.param,
        status=error.status,
        retry_after=retry_after or error.retry_after,
        extra=extra,
        retryable=error.retryable,
    )
    fresh.quota_told = error.quota_told
    return fresh
