"""What every turn passes before it is opened: the guard, the limits, the reserve.

There is one gate and every turn route goes through it, since a guard that is
called by each route is forgotten on one of them.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codexproxy.access.authorization import Identity, Right
from codexproxy.access.client_detection import Client, Headers, detect
from codexproxy.access.parallel import ParallelTurns
from codexproxy.access.rate_limits import Limiter, RateLimitStatus, check_reserve
from codexproxy.access.routing import ClientRule, check_model, decide
from codexproxy.access.routing_log import Passage, facts
from codexproxy.errors import PermissionRefused, ProxyError
from codexproxy.observability.log import fields
from codexproxy.planning.official_instructions import InstructionCatalog
from codexproxy.protocol.request import Caller, CliPermit, Turn
from codexproxy.upstream.provider import Provider
from codexproxy.upstream.quota_store import QuotaBook
from codexproxy.upstream.router.candidates import Route

log = logging.getLogger("codexproxy.access")


@dataclass(frozen=True, slots=True)
class Pass:
    """A request that may go on.

    Attributes:
        identity: Who asks.
        client: With which program.
        passage: Where its turns go, and what they need there.
    """

    identity: Identity
    client: Client
    passage: Passage

    @property
    def caller(self) -> Caller:
        """What the turn carries of all this."""
        identity = self.identity
        permit = CliPermit(identity.cli, identity.cli_network, owner=False)
        owner = identity.may(Right.OWN)
        return Caller(identity.owner, self.client.name, self.client.session, CliPermit() if owner else permit, owner)

    @property
    def route(self) -> Route:
        """Where the router sends it."""
        decision = self.passage.decision
        # Only who owns everything may reach a local CLI outside of its group.
        owner = self.identity.may(Right.OWN)
        return Route(decision.group, self.passage.adapt, anywhere=owner and not decision.forced)


@dataclass(frozen=True)
class Gate:
    """The one gate.

    Attributes:
        rules: Client -> what the configuration says about it.
        library: The official instructions.
        limiter: Counts requests and tokens.
        parallel: Counts turns at the same time.
        quotas: The account's windows.
        providers: Where turns may go.
        refresh: Fetches the catalogue, and with it the official instructions, when it is time for that.
    """

    rules: Mapping[str, ClientRule]
    library: InstructionCatalog
    limiter: Limiter
    parallel: ParallelTurns
    quotas: QuotaBook
    providers: Sequence[Provider]
    refresh: Callable[[], object] = tuple

    def recognise(self, identity: Identity, headers: Headers, payload: Mapping[str, Any], route: str) -> Pass:
        """Who asks with what, and where that goes.

        Raises:
            PermissionRefused: The key is bound to clients, and this is none of them.
        """
        if identity.allowed_clients:
            # Whoever is told apart by the official instructions must not come before them.
            self.refresh()
        client = detect(headers, payload, self.library.current())
        try:
            decision = decide(identity, client, self.rules, route)
        except PermissionRefused:
            log.warning("guard decision", extra=fields(**facts(identity, client, route), reason="refused"))
            raise
        return Pass(identity, client, Passage(decision, route, self.library))

    def check_model(self, held: Pass, turn: Turn) -> None:
        """Refuses a planned turn whose model the key may not use, also one that is only to be shown.

        Raises:
            ModelNotFound: The key is not for this model.
        """
        check_model(held.identity, turn.model, turn.routing.family, str(turn.body.get("model") or ""))

    def admit(
        self, held: Pass, turns: Sequence[Turn], on_end: Callable[[Callable[[], object]], object]
    ) -> RateLimitStatus:
        """Lets a request's planned turns in, and takes their places until the request ends.

        Args:
            held: The request's pass.
            turns: Its turns, planned, one per answer; all are for one model.
            on_end: Registers what has to be freed at the request's end.

        Raises:
            ModelNotFound: The key is not for this model.
            RateLimited: A limit of the key, or the reserve, is reached.
            InvalidRequest: The limits have no room for so many turns, now or later.
        """
        identity = held.identity
        self.check_model(held, turns[0])
        if identity.limits.reserve_weekly_percent:
            names = [provider.name for provider in self.providers if provider.group == held.route.group]
            check_reserve(identity, self.quotas.least_used(names), time.time())
        places = self.parallel.acquire(identity, len(turns))
        on_end(places.release)
        return self.limiter.admit(identity, len(turns))

    def standing(self, held: Pass) -> RateLimitStatus:
        """How the limits of a request's key stand."""
        return self.limiter.standing(held.identity)

    def close(self, held: Pass, tokens: int) -> None:
        """Counts what a request spent, and logs the decision now that its provider is known."""
        if log.isEnabledFor(held.passage.level):
            log.log(held.passage.level, "guard decision", extra=fields(**held.passage.record()))
        try:
            self.limiter.spend(held.identity, tokens)
        except ProxyError as error:
            log.error("the tokens of a turn of '%s' were not counted: %s", held.identity.name, error.message)
