"""The Codex CLI as our client: what it is given that nobody else would understand."""

from dataclasses import replace

from flask import Response, request

from codexproxy.access.authorization import Right
from codexproxy.access.client_detection import CODEX_CLI
from codexproxy.errors import ProxyError
from codexproxy.planning.model_catalog import ModelCatalog
from codexproxy.protocol.events import encode_json
from codexproxy.protocol.request import Turn
from codexproxy.server.codex_models import models_tag
from codexproxy.server.request_context import RequestContext, current
from codexproxy.upstream.chatgpt.codex_passthrough import refused, sent, told

# Where it looks for its own backend; what is below is for it alone.
NATIVE = "/backend-api"
CODEX = f"{NATIVE}/codex"
WHAM = f"{NATIVE}/wham"


def adapt_codex_request(turn: Turn, catalogue: ModelCatalog, context: RequestContext) -> Turn:
    """Leaves a turn of the CLI as it is, with the headers upstream wants; notes in the context that it is one."""
    context.speaks_codex = turn.caller.client == CODEX_CLI or request.path.startswith(NATIVE)
    if not context.speaks_codex:
        return turn
    context.models_tag = models_tag(catalogue)
    return replace(
        turn,
        planning=replace(turn.planning, as_sent=True),
        passthrough=replace(turn.passthrough, headers=sent(request.headers)),
    )


def error_reply(error: ProxyError) -> Response:
    """An error as its reader knows it."""
    status, body = refused(error) if current().speaks_codex else (error.status, error.as_dict())
    return Response(encode_json({"error": body}), status=status, content_type="application/json")


def codex_headers(context: RequestContext) -> dict[str, str]:
    """Response headers that only the Codex CLI reads: upstream's own, and the tag of the catalogue it is shown."""
    if not context.speaks_codex:
        return {}
    tag = {"x-models-etag": context.models_tag} if context.models_tag else {}
    answerer = context.turn.answerer if context.turn else None
    return {**tag, **(told(answerer.headers, whole=context.identity.may(Right.OWN)) if answerer else {})}
