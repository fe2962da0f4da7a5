"""Sends turns to providers: chooses one, and retries, fails over or fixes the request when an attempt fails.

A turn may be tried again, or elsewhere, until its first meaningful event is in
hand, and never after. Nothing else repeats a turn upstream, but for a refreshed
login (``chatgpt.client``) and answers that are not valid JSON (docs/architecture.md).
"""

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from codexproxy.compat.history.sanitize import has_compaction, without_encrypted_reasoning
from codexproxy.errors import ModelNotFound, ProxyError, UpstreamFailed, UpstreamTimeout
from codexproxy.metering.charge import begin_charge
from codexproxy.protocol.events import encode_json
from codexproxy.protocol.request import Turn
from codexproxy.protocol.stream import EventStream
from codexproxy.upstream.provider import Provider
from codexproxy.upstream.quota_store import QuotaBook
from codexproxy.upstream.router.affinity import Affinity, ProcessAffinity, conversation_of
from codexproxy.upstream.router.attempt import AttemptResult, attempt
from codexproxy.upstream.router.candidates import Route, candidates, ordered
from codexproxy.upstream.router.circuit import Health
from codexproxy.upstream.router.request_fixer import RequestFixer
from codexproxy.upstream.router.retry_policy import retry_rule

log = logging.getLogger(__name__)

# A failure within these seconds came quickly enough to try the same provider again.
QUICK = 5.0
# Longest wait in seconds, upstream's own or our back-off, that is spent inside a request.
ABSORBED = 5.0
BACK_OFF = 0.25

REASONING_REMOVED = "encrypted_reasoning:removed"


@dataclass(slots=True)
class RoutingState:
    """One turn on its way.

    Attributes:
        turn: What is to be sent; fixes change it.
        route: Where it may go.
        account: The account its conversation belongs to, where known.
        queue: Providers that were not asked yet, best first.
        alone: Whether one provider is all there is, so that health cannot shut it out.
        retries: Times a provider may still be asked again with the same turn.
        fixes: Times the turn may still be changed.
    """

    turn: Turn
    route: Route
    account: str | None
    queue: deque[Provider]
    alone: bool
    retries: int = 1
    fixes: int = 3


class NextAttempt(NamedTuple):
    """Who is asked next, after how many seconds."""

    provider: Provider
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Timing:
    """How the router waits and draws lots.

    Attributes:
        clock: Monotonic seconds.
        sleep: Waits that many seconds; lets other greenlets run.
        uniform: Random numbers in [0, 1).
        longest_wait: Longest wait upstream may ask for that is spent inside a request, in seconds.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[], float] = random.random
    longest_wait: float = ABSORBED


class Router:
    """Sends turns to providers.

    Args:
        providers: All enabled ones.
        health: What is known about them.
        affinity: Which account each conversation belongs to.
        fixer: Changes a turn that a provider refused so that it can be sent there again.
        quotas: Explains usage limits.
        timing: How the router waits.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        *,
        health: Health | None = None,
        affinity: Affinity | None = None,
        fixer: RequestFixer | None = None,
        quotas: QuotaBook | None = None,
        timing: Timing = Timing(),
    ) -> None:
        self.providers = tuple(providers)
        self.health = health or Health(timing.clock)
        self._affinity = affinity or ProcessAffinity()
        self._fixer = fixer
        self._quotas = quotas
        self._timing = timing
        self._accounts = {provider.account_id for provider in providers}

    def open(self, turn: Turn, route: Route = Route()) -> EventStream:
        """Starts a turn; the stream's first meaningful event is in hand when it returns.

        Raises:
            ProxyError: No provider answered, or the turn itself was refused.
        """
        state = self._begin(turn, route)
        if (provider := self._next_provider(state)) is None:
            raise self._refusal(state)
        while True:
            with self._attempt(provider, state) as result:
                following = self._next_attempt(result, result.error, state) if result.error else None
                if following is None:
                    return result.answer(turn)
            result.close()
            if following.pause:
                self._timing.sleep(following.pause)
            provider = following.provider

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
        state = self._begin(turn, route)
        failure: ProxyError | None = None
        while (provider := self._next_provider(state)) is not None:
            whole = self._turn_for(provider, state).body
            body = {key: whole[key] for key in keys if key in whole}
            charge = begin_charge(turn, provider.name)
            charge.sent(body, len(encode_json(body)))
            try:
                summary = provider.compact(body)
            except ProxyError as error:
                # Upstream is at work still when our own patience ends.
                if not isinstance(error, UpstreamTimeout):
                    charge.refused()
                failure = self._explained(provider.name, error)
                if not retry_rule(error).failover:
                    break
            else:
                self._remember(provider, state)
                charge.answered(summary)
                return summary
            finally:
                self.health.release(provider.name)
        raise failure or self._refusal(state)

    def preference(self, turn: Turn, route: Route = Route()) -> list[Provider]:
        """The providers a turn may go to, in the order of their priority."""
        return sorted(self._candidates(route, turn), key=lambda provider: provider.priority)

    def fitted(self, turn: Turn, provider: Provider, route: Route) -> Turn:
        """The turn as this provider takes it, by what is known and by what its route asks for."""
        if self._fixer is not None:
            turn = self._fixer.apply_known(turn, provider.name)
        return route.fit(turn, provider.capabilities)

    def _candidates(self, route: Route, turn: Turn) -> list[Provider]:
        return candidates(self.providers, route, turn)

    def _begin(self, turn: Turn, route: Route) -> RoutingState:
        found = self._candidates(route, turn)
        account = self._account_of(turn)
        alone = len(found) == 1
        if account is not None and has_compaction(turn.body):
            found = [provider for provider in found if provider.account_id == account]
        return RoutingState(turn, route, account, deque(ordered(found, account, self._timing.uniform)), alone)

    def _next_provider(self, state: RoutingState) -> Provider | None:
        if state.alone:
            return state.queue.popleft() if state.queue else None
        # An open breaker shuts a provider out only while another one may do better.
        allows = partial(self.health.allow_request, caller=state.turn.caller.key)
        for usable in (allows, self.health.is_off_cooldown):
            for provider in state.queue:
                if usable(provider.name):
                    state.queue.remove(provider)
                    return provider
        return None

    def _refusal(self, state: RoutingState) -> ProxyError:
        found = self._candidates(state.route, state.turn)
        for provider in sorted(found, key=lambda candidate: self.health.wait(candidate.name)):
            reason = self.health.reason(provider.name)
            if reason is not None:
                return self._explained(provider.name, reason)
        if found:
            return UpstreamFailed(
                "The provider that encrypted this conversation's summary is not available now. "
                "Try again later, or start a new conversation.",
                retryable=False,
            )
        return ModelNotFound(
            f"No enabled provider of group '{state.route.group}' serves the model '{state.turn.model}'. "
            "Check 'providers' in the config file; names that begin with 'cli/' need one of type 'codex-cli'.",
            param="model",
        )

    def _explained(self, provider: str, error: ProxyError) -> ProxyError:
        return self._quotas.explain(provider, error) if self._quotas else error

    def _attempt(self, provider: Provider, state: RoutingState) -> AttemptResult:
        try:
            result = attempt(provider, self._turn_for(provider, state), self._timing.clock)
        except BaseException:
            self.health.release(provider.name)
            raise
        with result:
            if result.error is not None:
                whose, caller = conversation_of(state.turn), state.turn.caller.key
                self.health.failed(provider.name, result.error, whose, in_stream=result.failed_in_stream, caller=caller)
                return replace(result, error=self._explained(provider.name, result.error))
            self.health.succeeded(provider.name)
            if self._fixer is not None:
                self._fixer.remember(state.turn, provider.name)
            self._remember(provider, state)
        return result

    def _remember(self, provider: Provider, state: RoutingState) -> None:
        if len(self._accounts) > 1 and state.turn.cache_key and provider.account_id != state.account:
            self._affinity.remember(conversation_of(state.turn), provider.account_id)

    def _turn_for(self, provider: Provider, state: RoutingState) -> Turn:
        turn = self.fitted(state.turn, provider, state.route)
        if turn.passthrough.x_codex and not provider.capabilities.honours_x_codex:
            turn = turn.with_notes(ignored=("x_codex",))
        is_its_own = provider.account_id == state.account or (state.account is None and len(self._accounts) == 1)
        return turn if is_its_own else _without_reasoning(turn) or turn

    def _next_attempt(self, result: AttemptResult, error: ProxyError, state: RoutingState) -> NextAttempt | None:
        following = self._fix(result, error, state) or self._failover(error, state) or self._retry(result, error, state)
        log.log(
            logging.INFO if following else logging.WARNING,
            "provider %s failed with %s after %.1f s; %s",
            result.provider.name,
            error.code,
            result.seconds,
            f"next is {following.provider.name}" if following else "nothing is left to try",
        )
        return following

    def _fix(self, result: AttemptResult, error: ProxyError, state: RoutingState) -> NextAttempt | None:
        if state.fixes == 0:
            return None
        fixed = self._fixer.fix(state.turn, error, result.provider.name) if self._fixer else None
        fixed = fixed or _without_refused_reasoning(state.turn, error)
        if fixed is None:
            return None
        state.fixes -= 1
        state.turn = fixed
        return NextAttempt(result.provider)

    def _failover(self, error: ProxyError, state: RoutingState) -> NextAttempt | None:
        other = self._next_provider(state) if retry_rule(error).failover else None
        return NextAttempt(other) if other else None

    def _retry(self, result: AttemptResult, error: ProxyError, state: RoutingState) -> NextAttempt | None:
        rule = retry_rule(error)
        in_time = rule.any_duration or result.seconds <= QUICK
        pause = error.retry_after or BACK_OFF * (0.5 + self._timing.uniform())
        if not (rule.retry and error.retryable and in_time and state.retries and pause <= self._timing.longest_wait):
            return None
        if not (state.alone or self.health.is_off_cooldown(result.provider.name)):
            return None
        state.retries -= 1
        return NextAttempt(result.provider, pause)

    def _account_of(self, turn: Turn) -> str | None:
        if len(self._accounts) == 1 or not turn.cache_key:
            return None
        return self._affinity.recall(conversation_of(turn))


def _without_refused_reasoning(turn: Turn, error: ProxyError) -> Turn | None:
    # Refusals lack their code at times, so the message counts as well (docs/reference/requests.md#encrypted-reasoning).
    refused = error.code == "invalid_encrypted_content" or "encrypted_content" in error.message
    return _without_reasoning(turn) if refused else None


def _without_reasoning(turn: Turn) -> Turn | None:
    body = without_encrypted_reasoning(turn.body)
    if body is turn.body:
        return None
    return replace(turn, body=body).with_notes(adapted=(REASONING_REMOVED,))
