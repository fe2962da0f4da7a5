"""Plans the turns of a request, and opens them with what upstream cannot do emulated."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from codexproxy.access.authorization import Identity
from codexproxy.apis.base import Api
from codexproxy.compat.strict_schema.decode import decode_stream
from codexproxy.compat.truncate.truncator import truncate
from codexproxy.errors import ModelNotFound
from codexproxy.metering.input_tokens import count_input
from codexproxy.planning.model_catalog import ModelCatalog
from codexproxy.planning.plan import plan, usable
from codexproxy.planning.request_builder import Policy
from codexproxy.protocol.pacing import Pause, no_pause
from codexproxy.protocol.request import Turn, paused
from codexproxy.protocol.stream import EventStream
from codexproxy.upstream.router.candidates import Route
from codexproxy.upstream.router.router import Router


class CatalogueSource(Protocol):
    """Where the current catalogue comes from."""

    def current(self) -> ModelCatalog:
        """The catalogue of this moment; cheap enough for every request."""


@dataclass(frozen=True)
class Planner:
    """Plans turns and opens them.

    Attributes:
        catalogue: The models.
        policy: What the owner decided for all turns.
        router: Opens turns; retries and fails over before the first event.
        inline_images: Fetches the remote images of a turn; None leaves that to upstream.
        pause: Lets others run, now and then in a long walk.
    """

    catalogue: CatalogueSource
    policy: Policy
    router: Router
    inline_images: Callable[[Turn], Turn] | None = None
    pause: Pause = no_pause

    def models_for(self, identity: Identity) -> ModelCatalog:
        """The current catalogue, which lists those models only that a caller may use."""
        catalogue = self.catalogue.current()
        return catalogue if identity.uses_all_models else _limited(catalogue, identity.models)

    def plan(self, api: Api, turn: Turn, identity: Identity) -> list[Turn]:
        """The turns ready to send, one per answer the caller wants."""
        routing = replace(turn.routing, forwards_failures=api.forwards_failures and turn.stream)
        catalogue = self.models_for(identity)
        bodies = api.bodies(turn)
        # Answers to one and the same question are planned once.
        planned = {
            key: plan(replace(turn, body=body, routing=routing), catalogue, self.policy)
            for key, body in {id(body): body for body in bodies}.items()
        }
        return [planned[id(body)] for body in bodies]

    def opener(self, route: Route, identity: Identity) -> Callable[[Turn], EventStream]:
        """Opens turns upstream; what the backend cannot do is emulated on the stream."""

        def open(turn: Turn) -> EventStream:
            ready = self.inline_images(turn) if self.inline_images else turn
            ready = turn if ready is turn else paused(ready, self.pause)
            try:
                stream = self.router.open(ready, route)
            except ModelNotFound as refusal:
                raise _naming_usable(refusal, ready, self.models_for(identity)) from refusal
            stream = truncate(stream, turn.stop, turn.max_tokens, lambda: count_input(turn.body, self.pause))
            return stream if turn.restorer is None else decode_stream(stream, turn.restorer, self.pause)

        return open


def _naming_usable(refusal: ModelNotFound, turn: Turn, catalogue: ModelCatalog) -> ModelNotFound:
    if refusal.param is not None:  # ours, and complete
        return refusal
    message = refusal.message + usable(catalogue, besides=str(turn.body.get("model") or ""))
    named = ModelNotFound(message, code=refusal.code, status=refusal.status, extra=refusal.extra)
    named.upstream_status, named.backend = refusal.upstream_status, refusal.backend
    return named


# The same object for each key with the same models, so that what is made of it is made once.
@lru_cache(maxsize=64)
def _limited(catalogue: ModelCatalog, patterns: tuple[str, ...]) -> ModelCatalog:
    return catalogue.limited_to(Identity(models=patterns).may_use)
