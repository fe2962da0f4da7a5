"""One request's way through the guard: carried out at the provider that was chosen, told in one log line."""

import logging
import re

from codexproxy.access.authorization import Identity
from codexproxy.access.client_detection import Client
from codexproxy.access.routing import Decision
from codexproxy.planning.official_instructions import InstructionCatalog, inject_instructions, instructions_of
from codexproxy.protocol.request import Turn
from codexproxy.provider_types import Capabilities

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


def facts(identity: Identity, client: Client, route: str) -> dict[str, object]:
    """What is known of a request that was refused; never any text of the caller's."""
    return {"user": identity.name, "allowedClients": list(identity.allowed_clients), **told(client, route)}


def told(client: Client, route: str) -> dict[str, object]:
    """What a request tells of its program, and the route it came by."""
    return {
        "route": route,
        "profile": client.name,
        "marks": dict(client.marks),
        "genuine": sorted(client.genuine),
        "hasInstructions": client.has_instructions,
        "instructionsLengthBefore": client.instructions_length,
    }


class Passage:
    """A decision, and what came of it.

    Args:
        decision: Where the request's turns go.
        route: The route it came by, ``/chat/completions``.
        library: The official instructions.
    """

    def __init__(self, decision: Decision, route: str, library: InstructionCatalog) -> None:
        self.decision = decision
        self._route = route
        self._library = library
        self._provider = ""
        self._type = ""
        self._completed = False
        self._mismatch = False
        self._length_after = decision.client.instructions_length

    def adapt(self, turn: Turn, provider: str, capabilities: Capabilities) -> Turn:
        """Makes a turn fit for the provider it goes to; called for each provider that is asked."""
        decision = self.decision
        self._provider, self._type = provider, capabilities.type
        self._mismatch = decision.complete and not capabilities.needs_official_instructions
        self._completed = decision.complete and not self._mismatch
        if decision.forced:
            turn = turn.with_notes(adapted=(f"guard:group={_UNSAFE.sub('_', decision.group)}",))
        if self._completed:
            official = self._library.for_model(str(turn.body.get("model") or ""))
            turn = inject_instructions(turn, official, self._library.current(), self._library.known())
        self._length_after = len(instructions_of(turn.body))
        return turn

    def record(self) -> dict[str, object]:
        """The facts the decision rests on and what was done; never any text of the caller's."""
        decision = self.decision
        official = self._library.current()
        return {
            "user": decision.user,
            "allowedClients": list(decision.allowed_clients),
            **told(decision.client, self._route),
            "instructionsLengthAfter": self._length_after,
            "officialTexts": "stand-ins" if official.fallbacks else "synchronised",
            "rule": decision.rule or None,
            "reason": decision.reason,
            "group": decision.group,
            "forced": decision.forced,
            "completed": self._completed,
            "mismatch": self._mismatch,
            "provider": self._provider or None,
            "providerType": self._type or None,
        }

    @property
    def level(self) -> int:
        """How loud the log line is: a turn that could not be completed is a warning, an unchecked one no news."""
        if self._mismatch:
            return logging.WARNING
        return logging.INFO if self.decision.allowed_clients else logging.DEBUG
