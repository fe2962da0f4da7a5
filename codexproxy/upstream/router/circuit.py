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
from codexproxy.upstream.router.retry_policy import retry_rule, seconds_until_reset

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
class CircuitState:
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
    """The state of every provider's circuit, as this process sees it.

    Args:
        clock: Monotonic seconds.
        wall: Epoch seconds, to which upstream's reset times refer.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self._states: dict[str, CircuitState] = {}

    def is_usable(self, name: str, caller: str = "") -> bool:
        """Whether a turn of this caller could go there now."""
        state = self._states.get(name)
        return state is None or self._wait(state, caller) == 0.0

    def is_off_cooldown(self, name: str) -> bool:
        """Whether upstream itself has nothing against a turn now, whatever our breaker says."""
        state = self._states.get(name)
        return state is None or state.cooling_until <= self._clock()

    def allow_request(self, name: str, caller: str = "") -> bool:
        """Takes a caller's turn for this provider; of a half-open breaker only one at a time."""
        state = self._states.get(name)
        if state is None:
            return True
        if self._wait(state, caller):
            return False
        if state.is_broken(caller):
            state.probe_began = self._clock()
        return True

    def succeeded(self, name: str) -> None:
        """The provider answered: whatever spoke against it is over."""
        self._states.pop(name, None)

    def failed(self, name: str, error: ProxyError, conversation: str, *, in_stream: bool, caller: str = "") -> None:
        """The provider failed.

        Args:
            name: The provider.
            error: How.
            conversation: The conversation of the turn.
            in_stream: Whether the failure came inside a 200.
            caller: Whose turn it was.
        """
        rule = retry_rule(error)
        state = self._states.setdefault(name, CircuitState())
        if rule.pause:
            pause = seconds_until_reset(error, self._wall())
            state.cooling_until = self._clock() + (rule.pause if pause is None else pause)
            state.reason = error
        if rule.counts and (rule.counts_in_stream or not in_stream):
            state.reason = error
            self._count(state, conversation, caller)
        state.probe_began = None

    def release(self, name: str) -> None:
        """A turn ended without saying anything about the provider."""
        state = self._states.get(name)
        if state is not None:
            state.probe_began = None

    def reason(self, name: str) -> ProxyError | None:
        """A fresh error that says why a provider is not asked now, and for how long; None when nothing does."""
        state = self._states.get(name)
        if state is None or state.reason is None:
            return None
        return renewed(state.reason, self._wait(state))

    def wait(self, name: str) -> float:
        """Seconds until a provider can be asked again."""
        state = self._states.get(name)
        return self._wait(state) if state else 0.0

    def _count(self, state: CircuitState, conversation: str, caller: str) -> None:
        state.failures += 1
        # Only "one" or "more than one" matters, so the sets stay small.
        for seen, one in ((state.conversations, conversation), (state.callers, caller)):
            if len(seen) < CONVERSATIONS:
                seen.add(one)
        if state.is_broken(caller):
            pause = min(FIRST_PAUSE * 2**state.pauses, LONGEST_PAUSE)
            state.open_until = self._clock() + pause
            state.pauses += 1

    def _wait(self, state: CircuitState, caller: str = "") -> float:
        now = self._clock()
        wait = state.cooling_until - now
        if state.is_broken(caller):
            wait = max(wait, state.open_until - now)
            if state.probe_began is not None:
                wait = max(wait, state.probe_began + PROBE_PATIENCE - now)
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
