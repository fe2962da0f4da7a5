"""Which provider runs a turn, and what happens when it cannot.

The only home of retries: a turn may be tried again, or elsewhere, until its
first meaningful event is in hand, and never after.
"""

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from codexproxy.compat.encrypted_content import has_compaction
from codexproxy.errors import ModelNotFound, ProxyError, UpstreamFailed, UpstreamTimeout
from codexproxy.metering.charge import begin_charge
from codexproxy.protocol.events import encode_json
from codexproxy.protocol.request import Turn
from codexproxy.protocol.stream import EventStream
from codexproxy.upstream.provider import Provider
from codexproxy.upstream.router.affinity import Affinity, ProcessAffinity, conversation_of
from codexproxy.upstream.router.attempt import Healer, Outcome, attempt, drop_encrypted_reasoning, stripped
from codexproxy.upstream.router.candidates import Route, members, ranked
from codexproxy.upstream.router.circuit import Health
from codexproxy.upstream.router.retry_policy import disposition_of

log = logging.getLogger(__name__)

# A failure within these seconds came quickly enough to try the same provider again.
QUICK = 5.0
# Longest wait in seconds, upstream's own or our back-off, that is spent inside a request.
ABSORBED = 5.0
BACK_OFF = 0.25


@dataclass(slots=True)
class Course:
    """One turn on its way.

    Attributes:
        turn: What is to be sent; healing changes it.
        route: Where it may go.
        account: The account its conversation belongs to, where known.
        queue: Providers that were not asked yet, best first.
        alone: Whether one provider is all there is, so that health cannot shut it out.
        repeats: Times a provider may still be asked again with the same turn.
        healings: Times the turn may still be changed.
    """

    turn: Turn
    route: Route
    account: str | None
    queue: deque[Provider]
    alone: bool
    repeats: int = 1
    healings: int = 3


class Step(NamedTuple):
    """Who is asked next, after how many seconds."""

    provider: Provider
    pause: float = 0.0


class Router:
    """Sends turns to providers.

    Args:
        providers: All enabled ones.
        health: What is known about them.
        affinity: Which account each conversation belongs to.
        healers: Each may change a turn that a provider refused so that it can be sent there again.
        known: Changes a turn by what its provider, here by name, is known to refuse.
        answered: Told of each turn that a provider took, as it was after healing, and of the provider's name.
        sleep: Waits that many seconds; lets other greenlets run.
        uniform: Random numbers in [0, 1).
        clock: Monotonic seconds.
        absorb: Longest wait upstream may ask for that is spent inside a request, in seconds.
        explain: Tells a provider's failure as well as can be, before a caller sees it.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        *,
        health: Health | None = None,
        affinity: Affinity | None = None,
        healers: Sequence[Healer] = (),
        known: Callable[[Turn, str], Turn] = lambda turn, provider: turn,
        answered: Callable[[Turn, str], None] = lambda turn, provider: None,
        sleep: Callable[[float], None] = time.sleep,
        uniform: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        absorb: float = ABSORBED,
        explain: Callable[[str, ProxyError], ProxyError] = lambda provider, error: error,
    ) -> None:
        self.providers = tuple(providers)
        self.health = health or Health(clock)
        self._affinity = affinity or ProcessAffinity()
        self._healers = (*healers, drop_encrypted_reasoning)
        self._known, self._answered = known, answered
        self._sleep = sleep
        self._uniform = uniform
        self._clock = clock
        self._absorb = absorb
        self._explain = explain
        self._accounts = {provider.account_id for provider in providers}

    def open(self, turn: Turn, route: Route = Route()) -> EventStream:
        """Starts a turn; the stream's first meaningful event is in hand when it returns.

        Raises:
            ProxyError: No provider answered, or the turn itself was refused.
        """
        course = self._course(turn, route)
        if (provider := self._take(course)) is None:
            raise self._refusal(course)
        while True:
            with self._attempt(provider, course) as outcome:
                step = self._after(outcome, outcome.error, course) if outcome.error else None
                if step is None:
                    return outcome.result(turn)
            outcome.close()
            if step.pause:
                self._sleep(step.pause)
            provider = step.provider

    def compact(self, turn: Turn, keys: Sequence[str], route: Route = Route()) -> dict[str, Any]:
        """Compacts a turn's conversation, at its own account first, else wherever that can be done.

        Args:
            turn: The conversation, planned like any turn.
            keys: What is sent of its body.
            route: Where it may go.

        Raises:
            NotOffered: Every provider lacks this.
            ProxyError: No provider answered, or the conversation itself was refused.
        """
        course = self._course(turn, route)
        failure: ProxyError | None = None
        while (provider := self._take(course)) is not None:
            whole = self._prepared(provider, course).body
            body = {key: whole[key] for key in keys if key in whole}
            charge = begin_charge(turn)
            charge.sent(body, len(encode_json(body)))
            try:
                summary = provider.compact(body)
            except ProxyError as error:
                # Upstream is at work still when our own patience ends.
                if not isinstance(error, UpstreamTimeout):
                    charge.refused()
                failure = self._explain(provider.name, error)
                if not disposition_of(error).elsewhere:
                    break
            else:
                self._remember(provider, course)
                charge.answered(summary)
                return summary
            finally:
                self.health.release(provider.name)
        raise failure or self._refusal(course)

    def preference(self, turn: Turn, route: Route = Route()) -> list[Provider]:
        """The providers a turn may go to, in the order of their priority."""
        return sorted(self._members(route, turn), key=lambda provider: provider.priority)

    def fitted(self, turn: Turn, provider: Provider, route: Route) -> Turn:
        """The turn as this provider takes it, by what is known and by what its route asks for."""
        turn = self._known(turn, provider.name)
        return turn if route.adapt is None else route.adapt(turn, provider.name, provider.capabilities)

    def _members(self, route: Route, turn: Turn) -> list[Provider]:
        return members(self.providers, route.group, turn, anywhere=route.anywhere)

    def _course(self, turn: Turn, route: Route) -> Course:
        candidates = self._members(route, turn)
        account = self._account_of(turn)
        alone = len(candidates) == 1
        if account is not None and has_compaction(turn.body):
            candidates = [provider for provider in candidates if provider.account_id == account]
        return Course(turn, route, account, deque(ranked(candidates, account, self._uniform)), alone)

    def _take(self, course: Course) -> Provider | None:
        # An open breaker shuts a provider out only while another one may do better.
        admit = partial(self.health.admit, caller=course.turn.caller.key)
        for fits in (admit, self.health.is_warm):
            for provider in course.queue:
                if course.alone or fits(provider.name):
                    course.queue.remove(provider)
                    return provider
        return None

    def _refusal(self, course: Course) -> ProxyError:
        candidates = self._members(course.route, course.turn)
        for provider in sorted(candidates, key=lambda candidate: self.health.wait(candidate.name)):
            reason = self.health.reason(provider.name)
            if reason is not None:
                return self._explain(provider.name, reason)
        if candidates:
            return UpstreamFailed(
                "The provider that encrypted this conversation's summary is not available now. "
                "Try again later, or start a new conversation.",
                retryable=False,
            )
        return ModelNotFound(
            f"No enabled provider of group '{course.route.group}' serves the model '{course.turn.model}'. "
            "Check 'providers' in the config file; names that begin with 'cli/' need one of type 'codex-cli'.",
            param="model",
        )

    def _attempt(self, provider: Provider, course: Course) -> Outcome:
        try:
            outcome = attempt(provider, self._prepared(provider, course), self._clock)
        except BaseException:
            self.health.release(provider.name)
            raise
        with outcome:
            if outcome.error is not None:
                whose, caller = conversation_of(course.turn), course.turn.caller.key
                self.health.failed(provider.name, outcome.error, whose, inside=outcome.inside, caller=caller)
                return replace(outcome, error=self._explain(provider.name, outcome.error))
            self.health.succeeded(provider.name)
            self._answered(course.turn, provider.name)
            self._remember(provider, course)
        return outcome

    def _remember(self, provider: Provider, course: Course) -> None:
        if len(self._accounts) > 1 and course.turn.cache_key and provider.account_id != course.account:
            self._affinity.remember(conversation_of(course.turn), provider.account_id)

    def _prepared(self, provider: Provider, course: Course) -> Turn:
        turn = self.fitted(course.turn, provider, course.route)
        if turn.passthrough.x_codex and not provider.capabilities.honours_x_codex:
            turn = turn.with_notes(ignored=("x_codex",))
        is_its_own = provider.account_id == course.account or (course.account is None and len(self._accounts) == 1)
        return turn if is_its_own else stripped(turn) or turn

    def _after(self, outcome: Outcome, error: ProxyError, course: Course) -> Step | None:
        step = self._healing(outcome, error, course) or self._elsewhere(error, course)
        step = step or self._repetition(outcome, error, course)
        log.log(
            logging.INFO if step else logging.WARNING,
            "provider %s failed with %s after %.1f s; %s",
            outcome.provider.name,
            error.code,
            outcome.seconds,
            f"next is {step.provider.name}" if step else "nothing is left to try",
        )
        return step

    def _healing(self, outcome: Outcome, error: ProxyError, course: Course) -> Step | None:
        if course.healings == 0:
            return None
        changes = (heal(course.turn, error, outcome.provider.name) for heal in self._healers)
        healed = next((turn for turn in changes if turn is not None), None)
        if healed is None:
            return None
        course.healings -= 1
        course.turn = healed
        return Step(outcome.provider)

    def _elsewhere(self, error: ProxyError, course: Course) -> Step | None:
        other = self._take(course) if disposition_of(error).elsewhere else None
        return Step(other) if other else None

    def _repetition(self, outcome: Outcome, error: ProxyError, course: Course) -> Step | None:
        row = disposition_of(error)
        in_time = row.at_any_time or outcome.seconds <= QUICK
        pause = error.retry_after or BACK_OFF * (0.5 + self._uniform())
        if not (row.again and error.retryable and in_time and course.repeats and pause <= self._absorb):
            return None
        if not (course.alone or self.health.is_warm(outcome.provider.name)):
            return None
        course.repeats -= 1
        return Step(outcome.provider, pause)

    def _account_of(self, turn: Turn) -> str | None:
        if len(self._accounts) == 1 or not turn.cache_key:
            return None
        return self._affinity.recall(conversation_of(turn))
