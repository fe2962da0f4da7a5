"""The access context of a request, and the policy that makes it: who asks, with which client, where its turns may go.

Every turn route calls ``AccessPolicy.authorize`` and ``acquire``, and nothing else decides: a check that each route
makes for itself is forgotten on one of them.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from codexproxy.access.authorization import Identity, Right
from codexproxy.access.client_detection import Client, detect_client, read_headers
from codexproxy.access.parallel import ParallelTurns
from codexproxy.access.rate_limits import Limiter, RateLimitStatus, check_reserve
from codexproxy.access.routing import ClientRule, Decision, check_model, decide
from codexproxy.errors import PermissionRefused, ProxyError
from codexproxy.observability.log import fields
from codexproxy.planning.official_instructions import InstructionCatalog, instructions_of
from codexproxy.protocol.request import Caller, CliPermit, Turn
from codexproxy.upstream.provider import Provider
from codexproxy.upstream.quota_store import QuotaBook
from codexproxy.upstream.router.candidates import Route

log = logging.getLogger("codexproxy.access")


@dataclass(frozen=True, slots=True)
class AccessContext:
    """Who asks, with which client, and where the request's turns may go.

    It lives as long as the request and holds none of its text.

    Attributes:
        identity: The caller, as the presented key tells.
        client: The program that sent the request.
        path: The canonical path of the request, ``/chat/completions``.
        decision: Which group the turns go to, and why.
        route: The decision as the router needs it.
        lengths: Characters of the planned turn's instructions, as they are and with official ones put in.
    """

    identity: Identity
    client: Client
    path: str
    decision: Decision
    route: Route
    lengths: tuple[int, int] = (0, 0)

    @property
    def caller(self) -> Caller:
        """What a turn has to know of the caller."""
        identity = self.identity
        if identity.may(Right.OWN):
            return Caller(identity.owner, self.client.name, self.client.session)
        permit = CliPermit(identity.cli, identity.cli_network, owner=False)
        return Caller(identity.owner, self.client.name, self.client.session, permit, is_owner=False)

    def with_plan(self, turn: Turn) -> "AccessContext":
        """The context with what the log tells of a planned turn."""
        if not (self.decision.complete or log.isEnabledFor(self.log_level)):
            return self
        length = len(instructions_of(turn.body))
        official = self.route.instructions
        return replace(self, lengths=(length, len(instructions_of(official.inject(turn).body)) if official else length))

    @property
    def log_level(self) -> int:
        """The level of the decision's log line: decisions about unbound keys are no news."""
        return logging.INFO if self.identity.allowed_clients else logging.DEBUG

    def log_fields(self) -> dict[str, object]:
        """The facts that the decision rests on; never any text of the caller's."""
        client = self.client
        return {
            "user": self.identity.name,
            "allowedClients": list(self.identity.allowed_clients),
            "route": self.path,
            "profile": client.name,
            "marks": dict(client.evidence.signals),
            "genuine": sorted(client.evidence.verified),
            "hasInstructions": client.evidence.has_instructions,
            "instructionsLengthBefore": client.evidence.instructions_length,
            "rule": self.decision.rule or None,
            "reason": self.decision.reason,
            "group": self.decision.group,
            "forced": self.decision.forced,
        }

    def outcome_fields(self, provider: Provider | None) -> dict[str, object]:
        """What became of the decision at the provider that was asked last; None where none was."""
        needed = provider is not None and provider.capabilities.needs_official_instructions
        completed = self.decision.complete and needed
        return {
            "instructionsLengthAfter": self.lengths[completed]
            if provider
            else self.client.evidence.instructions_length,
            "completed": completed,
            "mismatch": self.decision.complete and provider is not None and not needed,
            "provider": provider.name if provider else None,
            "providerType": provider.capabilities.type if provider else None,
        }


@dataclass(frozen=True)
class AccessPolicy:
    """Decides about the requests of one service.

    Attributes:
        rules: Client -> what the configuration says about it.
        instructions: The official instructions.
        limiter: Counts requests and tokens.
        parallel: Counts turns at the same time.
        quotas: The account's windows.
        providers: Where turns may go.
        refresh: Fetches the catalogue, and with it the official instructions, when it is time for that.
    """

    rules: Mapping[str, ClientRule]
    instructions: InstructionCatalog
    limiter: Limiter
    parallel: ParallelTurns
    quotas: QuotaBook
    providers: Sequence[Provider]
    refresh: Callable[[], object] = tuple

    def authorize(
        self, identity: Identity, environ: Mapping[str, Any], payload: Mapping[str, Any], path: str
    ) -> AccessContext:
        """Decides where a request's turns go.

        Args:
            identity: The caller.
            environ: The request's WSGI environment.
            payload: Its JSON object.
            path: Its canonical path.

        Raises:
            PermissionRefused: The key is bound to clients, and this is another one.
        """
        if identity.allowed_clients:
            # A client that is recognised by its official instructions must not come before they are known.
            self.refresh()
        wants_evidence = identity.allowed_clients or log.isEnabledFor(logging.DEBUG)
        official = self.instructions.current() if wants_evidence else None
        client = detect_client(read_headers(environ), payload, official.official if official else None)
        try:
            decision = decide(identity, client, self.rules, path)
        except PermissionRefused:
            refused = AccessContext(identity, client, path, Decision("refused", ""), Route())
            log.warning("guard decision", extra=fields(**refused.log_fields()))
            raise
        route = Route(
            decision.group,
            decision.forced,
            official if decision.complete else None,
            # A local CLI outside of its group is for the owner only.
            allow_explicit_provider=identity.may(Right.OWN) and not decision.forced,
        )
        return AccessContext(identity, client, path, decision, route)

    def check_model(self, access: AccessContext, turn: Turn) -> None:
        """Refuses a planned turn whose model the key may not use, also one that is only to be shown.

        Raises:
            ModelNotFound: The key is not for this model.
        """
        check_model(access.identity, turn.model, turn.routing.family, str(turn.body.get("model") or ""))

    def acquire(
        self, access: AccessContext, turns: Sequence[Turn], on_end: Callable[[Callable[[], object]], object]
    ) -> RateLimitStatus:
        """Counts a request's planned turns, and takes their slots until the request ends.

        Args:
            access: The request's access context.
            turns: Its turns, planned, one per answer; all are for one model.
            on_end: Registers what has to be freed at the request's end.

        Raises:
            ModelNotFound: The key is not for this model.
            RateLimited: A limit of the key, or the reserve, is reached.
            InvalidRequest: The limits have no room for so many turns, now or later.
        """
        identity = access.identity
        self.check_model(access, turns[0])
        if identity.limits.reserve_weekly_percent:
            names = [provider.name for provider in self.providers if provider.group == access.route.group]
            check_reserve(identity, self.quotas.least_used(names), time.time())
        slot = self.parallel.acquire(identity, len(turns))
        on_end(slot.release)
        return self.limiter.admit(identity, len(turns))

    def settle(self, access: AccessContext, provider: str, tokens: int) -> None:
        """Counts what a request spent, and logs the decision now that its provider is known.

        Args:
            access: The request's access context.
            provider: Name of the provider that was asked last; empty when none was.
            tokens: What was spent, in and out.
        """
        self._log_decision(access, provider)
        try:
            self.limiter.spend(access.identity, tokens)
        except ProxyError as error:
            log.error("the tokens of a turn of '%s' were not counted: %s", access.identity.name, error.message)

    def _log_decision(self, access: AccessContext, provider: str) -> None:
        if not (access.decision.complete or log.isEnabledFor(access.log_level)):
            return
        outcome = access.outcome_fields(next((one for one in self.providers if one.name == provider), None))
        # A turn that could not be completed is a warning.
        level = logging.WARNING if outcome["mismatch"] else access.log_level
        synchronised = self.instructions.current().are_synchronised
        facts = {"officialTexts": "synchronised" if synchronised else "stand-ins", **access.log_fields(), **outcome}
        log.log(level, "guard decision", extra=fields(**facts))
