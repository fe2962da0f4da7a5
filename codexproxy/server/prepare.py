"""How a turn comes in: read, recognised, planned, admitted."""

from dataclasses import dataclass, replace

from flask import Response, g, request

from codexproxy.apis.base import Api
from codexproxy.errors import BodyTooLarge, RateLimited
from codexproxy.metering.charge import spread
from codexproxy.observability.bodies import log_body
from codexproxy.protocol.json_encoding import LARGE, paused
from codexproxy.protocol.request import Turn
from codexproxy.server import dry_run as dryrun
from codexproxy.server.admission import Pass
from codexproxy.server.codex_request import meet
from codexproxy.server.request_body.body import parse_object, read_body
from codexproxy.server.request_context import RequestContext
from codexproxy.server.responses import json_reply
from codexproxy.server.services import Services
from codexproxy.server.upstream_call import UpstreamCall
from codexproxy.storage.turn_journal import Account
from codexproxy.upstream.codex_cli.x_codex import wishes_of
from codexproxy.upstream.provider import share_slots


@dataclass(frozen=True, slots=True)
class Entry:
    """A turn request that was understood and not begun yet.

    Attributes:
        held: Who asks, and where the turn goes.
        turns: What is sent, one turn per answer the caller wants.
    """

    held: Pass
    turns: list[Turn]

    @property
    def turn(self) -> Turn:
        """The first turn; most requests have no other."""
        return self.turns[0]


def read_entry(api: Api, services: Services) -> Entry:
    """The current request's turns, planned.

    Raises:
        InvalidRequest: It is not what the API format takes, or refers to what is not there.
        BodyTooLarge: It is too large, or stands for what is.
        PermissionRefused: The key is bound to clients, and this is none of them.
    """
    g.log.dialect = api.name
    body = read_body(request.environ, services.max_body_bytes)
    payload = parse_object(body)
    log_body("request body", payload)
    held = services.gate.recognise(g.identity, request.headers, payload, request.path)
    wishes = payload.pop("x_codex", None)
    wishes_of(wishes)  # refused here, whichever backend answers
    turn = meet(api.parse(payload, held.caller), services.models_for(held.identity))
    turn = replace(turn, passthrough=replace(turn.passthrough, x_codex=wishes)) if wishes else turn
    turn = paused(turn, services.pause) if len(body) > LARGE else turn
    _check_copies(len(body), turn.count, services.max_body_bytes)
    turns = services.plan(api, services.responses.recall(turn) if api.stateful else turn, held.identity)
    g.log.turn = turns[0]
    log_body("upstream body", turns[0].body)
    return Entry(held, turns)


def _check_copies(size: int, count: int, most: int) -> None:
    # Each answer is a turn of its own, whose body is a copy of the whole conversation.
    if count > 1 and size * count > most:
        raise BodyTooLarge(
            f"{count} answers to a request of {size} bytes take {count} times as much, more than the {most} bytes "
            "allowed (MAX_BODY_BYTES). Please ask for fewer answers.",
            param="n",
        )


def dry_run(entry: Entry, services: Services) -> Response | None:
    """What would be sent, for those who only want to see that.

    Raises:
        ModelNotFound: The key is not for this model, so that what its name stands for is none of its business.
    """
    if request.headers.get(dryrun.HEADER) != "1":
        return None
    services.gate.check_model(entry.held, entry.turn)
    g.log.dialect = ""
    return json_reply(dryrun.explain(entry.turns, services.router, entry.held.route))


def admit(entry: Entry, services: Services, context: RequestContext) -> None:
    """Lets a turn in; its place is free again when ``requestlog`` ends.

    Raises:
        ModelNotFound: The key is not for this model.
        RateLimited: A limit of the key, or the reserve, is reached.
    """
    held = entry.held  # Not the entry: whatever waits for the end keeps what it knows, conversations included.

    def close() -> None:
        services.gate.close(held, context.tokens)
        context.charged()

    context.on_end(close)
    context.note(g.log, Account(held.identity.owner, held.identity.limits.tokens_per_day))
    try:
        g.log.headers = services.gate.admit(entry.held, entry.turns, context.on_end).headers()
    except RateLimited:
        g.log.headers = services.gate.standing(entry.held).headers()
        raise


def open_turns(entry: Entry, services: Services, context: RequestContext) -> UpstreamCall:
    """Begins to open an admitted request's turns; closed when ``requestlog`` ends."""
    turns, party = share_slots(spread(entry.turns, context.tally))
    call = UpstreamCall(services.opener(entry.held.route, entry.held.identity), turns, party)
    context.on_end(call.close)
    return call
