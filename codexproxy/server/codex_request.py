"""The Codex CLI as our client: what it is given that nobody else would understand."""

from dataclasses import replace

from flask import Response, g, request

from codexproxy.access.authorization import Right
from codexproxy.access.client_detection import CODEX_CLI
from codexproxy.errors import ProxyError
from codexproxy.planning.model_catalog import Catalogue
from codexproxy.protocol.events import encode_json
from codexproxy.protocol.request import Turn
from codexproxy.protocol.stream import Answerer
from codexproxy.server.codex_models import models_tag
from codexproxy.upstream.chatgpt.codex_passthrough import refused, sent, told

# Where it looks for its own backend; what is below is for it alone.
NATIVE = "/backend-api"
CODEX = f"{NATIVE}/codex"
WHAM = f"{NATIVE}/wham"


def meet(turn: Turn, catalogue: Catalogue) -> Turn:
    """Notes whether the current request is the CLI's; its turns stay as they are, with the headers upstream wants."""
    g.speaks_codex = turn.caller.client == CODEX_CLI or request.path.startswith(NATIVE)
    if not g.speaks_codex:
        return turn
    g.models_tag = models_tag(catalogue)
    return replace(
        turn,
        planning=replace(turn.planning, as_sent=True),
        passthrough=replace(turn.passthrough, headers=sent(request.headers)),
    )


def error_reply(error: ProxyError) -> Response:
    """An error as its reader knows it."""
    status, body = refused(error) if g.get("speaks_codex") else (error.status, error.as_dict())
    return Response(encode_json({"error": body}), status=status, content_type="application/json")


def headers_for(answerer: Answerer | None) -> dict[str, str]:
    """Upstream's own headers, for the one client that reads them; of the catalogue that we show it."""
    if not g.get("speaks_codex"):
        return {}
    tag = {"x-models-etag": g.models_tag} if g.get("models_tag") else {}
    return {**tag, **(told(answerer.headers, whole=g.identity.may(Right.OWN)) if answerer else {})}
