"""The Codex CLI as our client: what it is given that nobody else would understand."""

from dataclasses import replace

from flask import Response, g, request

from codexproxy.backends.chatgpt.headers import CODEX_HEADERS
from codexproxy.backends.chatgpt.native import refused, sent, told
from codexproxy.errors import ProxyError
from codexproxy.guard.profiles import CODEX_CLI
from codexproxy.turns.events import encode_json
from codexproxy.turns.policy import AS_SENT
from codexproxy.turns.stream import Answerer
from codexproxy.turns.turn import Turn

# Where it looks for its own backend; what is below is for it alone.
NATIVE = "/backend-api"
CODEX = f"{NATIVE}/codex"
WHAM = f"{NATIVE}/wham"


def meet(turn: Turn) -> Turn:
    """Notes whether the current request is the CLI's; its turns stay as they are, with the headers upstream wants."""
    g.speaks_codex = turn.caller.client == CODEX_CLI or request.path.startswith(NATIVE)
    if not g.speaks_codex:
        return turn
    return replace(turn, options={**turn.options, AS_SENT: True, CODEX_HEADERS: sent(request.headers)})


def error_reply(error: ProxyError) -> Response:
    """An error as its reader knows it."""
    status, body = refused(error) if g.get("speaks_codex") else (error.status, error.as_dict())
    return Response(encode_json({"error": body}), status=status, content_type="application/json")


def headers_for(answerer: Answerer | None) -> dict[str, str]:
    """Upstream's own headers, for the one client that reads them."""
    return told(answerer.headers) if answerer and g.get("speaks_codex") else {}
