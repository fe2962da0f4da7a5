"""The listening side: routes and the stream server."""

from collections.abc import Callable
from typing import Any

from gevent.server import StreamServer

from codexproxy.simulator import backend_api, device, issuer
from codexproxy.simulator.connection import Answer, Connection
from codexproxy.simulator.control import control
from codexproxy.simulator.http import Request
from codexproxy.simulator.recorder import CONTROL_PREFIX
from codexproxy.simulator.refusals import challenge
from codexproxy.simulator.replies import json_reply
from codexproxy.simulator.responses import answer_turn
from codexproxy.simulator.world import World

BACKLOG = 8192

Handler = Callable[[World, Request], Answer]


def _upgrade(world: World, request: Request) -> Answer:
    """A WebSocket is not spoken here: 426 makes the real client fall back to POST.

    See docs/reference/requests.md#websocket.
    """
    if request.headers.get("upgrade", "").lower() == "websocket":
        return json_reply({"detail": "Upgrade Required"}, 426)
    return json_reply({"detail": "Method Not Allowed"}, 405, [("allow", "POST")])


def _wrong_path(world: World, request: Request) -> Answer:
    return challenge().reply()


ROUTES: dict[tuple[str, str], Handler] = {
    ("POST", "/backend-api/codex/responses"): answer_turn,
    ("GET", "/backend-api/codex/responses"): _upgrade,
    ("POST", "/backend-api/codex/chat/completions"): _wrong_path,
    ("POST", "/backend-api/codex/responses/compact"): backend_api.signed_in("compact", backend_api.compact),
    ("GET", "/backend-api/codex/models"): backend_api.signed_in("models", backend_api.models),
    ("GET", "/backend-api/wham/usage"): backend_api.signed_in("usage", backend_api.usage),
    ("GET", "/backend-api/wham/accounts/check"): backend_api.signed_in("accounts", backend_api.accounts),
    ("GET", "/oauth/authorize"): issuer.authorize_page,
    ("GET", "/oauth/authorize/decision"): issuer.decide,
    ("POST", "/oauth/token"): issuer.token,
    ("POST", "/oauth/revoke"): issuer.revoke,
    ("POST", "/api/accounts/deviceauth/usercode"): device.usercode,
    ("POST", "/api/accounts/deviceauth/token"): device.poll,
    ("GET", "/codex/device"): device.page,
}
_PATHS = {path for _, path in ROUTES}


def route(world: World, request: Request) -> Answer:
    """Answers a request by its method and path."""
    if request.path.startswith(CONTROL_PREFIX):
        return control(world, request)
    handler = ROUTES.get((request.method, request.path))
    if handler is not None:
        return handler(world, request)
    if request.path in _PATHS:
        return json_reply({"detail": "Method Not Allowed"}, 405)
    return json_reply({"detail": "Not Found"}, 404)


def make_server(world: World, host: str, port: int, certificate: tuple[str, str] | None = None) -> StreamServer:
    """A server that is not started yet.

    Args:
        world: The simulator's state.
        host: Address to listen on.
        port: Port; 0 lets the system choose.
        certificate: Files of the TLS certificate and its key.
    """
    scheme = "https" if certificate else "http"
    tls: dict[str, Any] = {"certfile": certificate[0], "keyfile": certificate[1]} if certificate else {}

    def serve(sock: Any, address: Any) -> None:
        Connection(sock, world, scheme).serve()

    return StreamServer((host, port), serve, backlog=BACKLOG, **tls)
