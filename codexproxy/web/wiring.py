"""What the routes work with, handed in by the composition root."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from codexproxy.backends.router import Router
from codexproxy.dialects.base import Dialect
from codexproxy.guard.clients import detect
from codexproxy.guard.headers import Headers
from codexproxy.guard.keys import Identity, KeyRing
from codexproxy.guard.official import OfficialTexts
from codexproxy.guard.origin import OriginPolicy
from codexproxy.turns.catalogue import Catalogue
from codexproxy.turns.cut import cut
from codexproxy.turns.plan import plan
from codexproxy.turns.policy import Policy
from codexproxy.turns.stream import EventStream
from codexproxy.turns.turn import Caller, Turn


class CatalogueSource(Protocol):
    """Where the current catalogue comes from."""

    def current(self) -> Catalogue:
        """The catalogue of this moment; cheap enough for every request."""


@dataclass(frozen=True)
class Wiring:
    """Everything the web layer needs, and nothing it could look up itself.

    Attributes:
        dialects: Route -> dialect.
        router: Opens turns; retries and fails over before the first event.
        catalogue: The models.
        policy: What the owner decided for all turns.
        keys: Who may ask.
        origins: From where.
        official: The official instructions, by which the Codex CLI is recognised.
        ready: Reasons why turns cannot be served now; empty when they can.
        max_body_bytes: Largest request, before and after unpacking.
        heartbeat_seconds: Silence after which a stream says so.
        reverse_names: Whether each model is listed by its reversed name, too.
    """

    dialects: Mapping[str, Dialect]
    router: Router
    catalogue: CatalogueSource
    policy: Policy
    keys: KeyRing
    origins: OriginPolicy
    official: OfficialTexts
    ready: Callable[[], list[str]]
    max_body_bytes: int
    heartbeat_seconds: float
    reverse_names: bool = False

    def caller(self, headers: Headers, payload: Mapping[str, Any], identity: Identity) -> Caller:
        """Who asks: which key, which client, which conversation of its own."""
        client = detect(headers, payload, self.official)
        return Caller(identity.name, client.name, client.session)

    def plan(self, dialect: Dialect, turn: Turn) -> list[Turn]:
        """The turns ready to send, one per answer the caller wants."""
        options = {**turn.options, "forwards_failures": dialect.forwards_failures and turn.stream}
        catalogue = self.catalogue.current()
        return [
            plan(replace(turn, body=body, options=options), catalogue, self.policy) for body in dialect.bodies(turn)
        ]

    def open(self, turn: Turn) -> EventStream:
        """Opens one turn upstream; what the backend cannot do is emulated on its stream."""
        return cut(self.router.open(turn), turn.stop, turn.max_tokens)
