"""What every request passes, in one place so that no route can forget it."""

import re
import secrets
from functools import partial

from flask import Flask, Response, request

from codexproxy.access.authorization import KEYLESS_OWNER, Identity, authorize
from codexproxy.access.keys import presented_key
from codexproxy.access.origins import RequestOrigin, is_loopback_address, merge_vary, proxy_mark
from codexproxy.errors import AuthenticationFailed
from codexproxy.gunicorn.disconnects import Departures
from codexproxy.gunicorn.fast_headers import InboundRequest
from codexproxy.observability.log_context import bind_request_id
from codexproxy.server.codex_request import codex_headers
from codexproxy.server.operations import OPEN_PATHS, right_needed
from codexproxy.server.request_context import RequestContext, bind, current
from codexproxy.server.services import Services

# Characters of a header that tells what was ignored or adapted; a request may have any number of unknown fields.
LONGEST_NOTES = 2000
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def register(app: Flask, services: Services) -> None:
    """Installs the hooks: id, log, keys, origin, CORS, and the watch for clients that leave."""
    departures = Departures()

    def begin() -> Response | None:
        request_id = request.headers.get("x-request-id", "")
        request_id = request_id if _SANE_ID.fullmatch(request_id) else secrets.token_hex(16)
        bind_request_id(request_id)
        context = bind(RequestContext(request_id, services.observer))
        if request.method == "OPTIONS":
            return Response(status=204)
        if request.path in OPEN_PATHS:
            return None
        context.log_start(request.method, request.environ.get("codexproxy.path", request.path))
        context.identity = admit(services)
        # A login has limits of its own, and must not be cut between the service's answer and our writing it down.
        context.exits.callback(services.inflight.enter(context, limited=not request.path.startswith("/auth/")))
        sock = request.environ.get("gunicorn.socket")
        if sock is not None and (request.method == "POST" or "stream" in request.args):
            context.stop_watching = partial(departures.forget, departures.watch(sock))
        return None

    def finish(response: Response) -> Response:
        context = current()
        context.answered(response.status_code)
        response.headers.update(headers_of(context))
        origin = request.headers.get("origin")
        if origin is None and not services.origins.cors_allow_origins:
            return response
        headers = services.origins.cors_headers(
            origin,
            requested_headers=request.headers.get("access-control-request-headers"),
            private_network=request.headers.get("access-control-request-private-network") == "true",
            preflight=request.method == "OPTIONS",
        )
        if "Vary" in headers:
            headers["Vary"] = merge_vary(headers, response.headers.get("Vary"))
        response.headers.update(headers)
        return response

    def end(error: BaseException | None) -> None:
        context = current()
        if error is not None and not isinstance(error, Exception):
            context.client_left()
        if not context.followed:
            context.finish()

    app.request_class = InboundRequest
    app.before_request(begin)
    app.after_request(finish)
    app.teardown_request(end)


def headers_of(context: RequestContext) -> dict[str, str]:
    """Response headers that tell what is known of a request by now."""
    headers = {**codex_headers(context), **context.headers}
    headers["x-request-id"] = context.request_id
    headers["openai-processing-ms"] = str(context.timer.milliseconds)
    if context.backend:
        headers["x-codexproxy-backend"] = _header_text(context.backend)
    turn, answerer = (context.turn.planned, context.turn.answerer) if context.turn else (None, None)
    if turn is not None:
        turn = turn.with_notes(ignored=answerer.ignored, adapted=answerer.adapted) if answerer else turn
        notes = {"x-codexproxy-ignored": turn.ignored, "x-codexproxy-adapted": turn.adapted}
        headers |= {name: _header_text(",".join(values)) for name, values in notes.items() if values}
    return headers


def _header_text(text: str) -> str:
    # Field names are the caller's own words; what a header cannot hold is replaced.
    text = text[:LONGEST_NOTES]
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if " " <= char <= "~" else "?" for char in text)


def admit(services: Services) -> Identity:
    """Who asks; refuses who may not.

    Raises:
        AuthenticationFailed: The key is missing or wrong.
        PermissionRefused: The Host or the Origin is not allowed, or the caller's role does not reach so far.
        RateLimited: Too many wrong keys came from this address.
    """
    presented, peer = presented_key(request.headers), request.environ.get("REMOTE_ADDR")
    if presented is None:
        return _authorized(services, None)
    services.lockout.check(peer)
    try:
        return _authorized(services, presented)
    except AuthenticationFailed:
        services.lockout.count(peer)
        raise


def _authorized(services: Services, presented: str | None) -> Identity:
    identity = services.keys.identify(presented)
    # They were read for the identity just now.
    keys_exist = services.keys.requires_key
    if not identity.keyed:
        here = request_origin(keys_exist)
        services.origins.check(here)
        if services.origins.is_owner(here):
            identity = KEYLESS_OWNER
    rule = request.url_rule
    needed = right_needed(request.method, rule.rule if rule is not None else None)
    authorize(identity, needed, keys_exist=keys_exist)
    return identity


def request_origin(key_configured: bool) -> RequestOrigin:
    """How this request, which presents no valid key, comes to us."""
    return RequestOrigin(
        host=request.headers.get("host"),
        origin=request.headers.get("origin"),
        remote_is_loopback=is_loopback_address(request.environ.get("REMOTE_ADDR")),
        proxy=proxy_mark(request.environ),
        key_configured=key_configured,
    )
