"""How a turn comes in: read, authorised, parsed, planned, admitted, opened."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flask import request

from codexproxy.access.context import AccessContext
from codexproxy.apis.base import Api
from codexproxy.errors import BodyTooLarge, RateLimited
from codexproxy.metering.charge import with_tally
from codexproxy.observability.bodies import log_body
from codexproxy.protocol.request import LARGE, Turn, paused
from codexproxy.server.codex_request import adapt_codex_request
from codexproxy.server.request_body.body import parse_object, read_body
from codexproxy.server.request_context import RequestContext
from codexproxy.server.running_turn import RunningTurn
from codexproxy.server.services import Services
from codexproxy.server.upstream_call import UpstreamCall
from codexproxy.storage.turn_journal import Account
from codexproxy.upstream.codex_cli.x_codex import wishes_of
from codexproxy.upstream.provider import share_slots


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A turn request that was understood and not begun yet.

    Attributes:
        access: Who asks, and where the turns may go.
        turns: What is sent, one turn per answer the caller wants.
    """

    access: AccessContext
    turns: list[Turn]

    @property
    def turn(self) -> Turn:
        """The first turn; most requests have no other."""
        return self.turns[0]


def prepare(api: Api, services: Services, context: RequestContext, running: RunningTurn) -> PreparedRequest:
    """The current request's turns, planned.

    Raises:
        InvalidRequest: It is not what the API format takes, or refers to what is not there.
        BodyTooLarge: It is too large, or stands for what is.
        PermissionRefused: The key is bound to clients, and this is another one.
    """
    body = read_body(request.environ, services.max_body_bytes)
    payload = parse_object(body)
    log_body("request body", payload)
    access = services.access.authorize(context.identity, request.environ, payload, request.path)
    wishes = payload.pop("x_codex", None)
    wishes_of(wishes)  # refused here, whichever backend answers
    turn = api.parse(payload, access.caller)
    turn = adapt_codex_request(turn, services.planner.models_for(access.identity), context)
    turn = replace(turn, passthrough=replace(turn.passthrough, x_codex=wishes)) if wishes else turn
    turn = paused(turn, services.pause) if len(body) > LARGE else turn
    _check_copies(len(body), turn.count, services.max_body_bytes)
    turn = services.responses.recall(turn) if api.stateful else turn
    turns = services.planner.plan(api, turn, access.identity)
    running.planned = turns[0]
    log_body("upstream body", turns[0].body)
    return PreparedRequest(access.with_plan(turns[0]), turns)


def _check_copies(size: int, count: int, most: int) -> None:
    # Each answer is a turn of its own, whose body is a copy of the whole conversation.
    if count > 1 and size * count > most:
        raise BodyTooLarge(
            f"{count} answers to a request of {size} bytes take {count} times as much, more than the {most} bytes "
            "allowed (MAX_BODY_BYTES). Please ask for fewer answers.",
            param="n",
        )


def admit(prepared: PreparedRequest, services: Services, context: RequestContext, running: RunningTurn) -> None:
    """Takes what the turns need of the limits; their use is counted when the turn ends.

    Raises:
        ModelNotFound: The key is not for this model.
        RateLimited: A limit of the key, or the reserve, is reached.
    """
    # Not the prepared request: what waits for the end keeps what it knows, conversations included.
    policy, access = services.access, prepared.access

    def settle() -> None:
        policy.settle(access, running.tally.provider, running.tokens)
        running.charged()

    running.exits.callback(settle)
    running.admitted(Account(access.identity.owner, access.identity.limits.tokens_per_day))
    try:
        context.headers = policy.acquire(access, prepared.turns, running.exits.callback).headers()
    except RateLimited:
        context.headers = policy.limiter.status(access.identity).headers()
        raise


def open_call(
    prepared: PreparedRequest, services: Services, running: RunningTurn, turns: Sequence[Turn] | None = None
) -> UpstreamCall:
    """Begins to open an admitted request's turns, or others in their place; closed when the turn ends."""
    asked, party = share_slots(with_tally(prepared.turns if turns is None else turns, running.tally))
    open = services.planner.opener(prepared.access.route, prepared.access.identity)
    call = UpstreamCall(open, asked, running.answered_by, party)
    running.exits.callback(call.close)
    return call
