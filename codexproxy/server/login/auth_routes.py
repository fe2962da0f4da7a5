"""``/auth/*``: logging in and out over HTTP; for the owner's key, or for this machine when there is none."""

from typing import Any
from urllib.parse import parse_qs

from flask import Blueprint, Response, request

from codexproxy.access.origins import is_loopback_address, proxy_mark
from codexproxy.errors import InvalidRequest
from codexproxy.login.oauth.callback import Callback, parse_pasted
from codexproxy.protocol.events import encode_json
from codexproxy.server.request_body.body import parse_object, read_body
from codexproxy.server.services import Services

# An address with a code is a few hundred bytes long.
LARGEST = 64 * 1024

# Fields that may hold the address that was pasted.
_ADDRESSES = ("url", "callback_url", "redirect_url")


def auth_routes(services: Services) -> Blueprint:
    """The routes; the table of operations reserves them to the owner."""
    blueprint, desk = Blueprint("auth", __name__), services.desk

    @blueprint.post("/auth/login")
    def login() -> Response:
        wanted = _fields(_body()).get("open_browser", True)
        if not isinstance(wanted, bool):
            raise InvalidRequest("`open_browser` must be true or false.", code="invalid_type", param="open_browser")
        return _json(desk.begin(open_here=wanted and _is_from_here()))

    @blueprint.post("/auth/device")
    def device() -> Response:
        return _json(desk.begin_device())

    @blueprint.post("/auth/callback")
    def callback() -> Response:
        desk.receive(_pasted(_body(), request.mimetype))
        return _json(desk.status())

    @blueprint.get("/auth/status")
    def status() -> Response:
        return _json(desk.status())

    @blueprint.post("/auth/logout")
    def logout() -> Response:
        return _json(desk.log_out())

    return blueprint


def _is_from_here() -> bool:
    return is_loopback_address(request.environ.get("REMOTE_ADDR")) and not proxy_mark(request.environ)


def _body() -> bytes:
    return bytes(read_body(request.environ, LARGEST))


def _fields(body: bytes) -> dict[str, Any]:
    return parse_object(body) if body.strip() else {}


def _pasted(body: bytes, mimetype: str) -> Callback:
    """What was pasted: as JSON, as a form, or as the bare text."""
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("{"):
        return _from_fields(parse_object(body))
    if mimetype == "application/x-www-form-urlencoded":
        form = {name: values[0] for name, values in parse_qs(text).items()}
        if form.keys() & set(_ADDRESSES):
            return _from_fields(form)
    return parse_pasted(text)


def _from_fields(fields: dict[str, Any]) -> Callback:
    known = {name: fields[name] for name in (*_ADDRESSES, "code", "state") if fields.get(name) is not None}
    for name, value in known.items():
        if not isinstance(value, str):
            raise InvalidRequest(f"`{name}` must be a string.", code="invalid_type", param=name)
    for name in _ADDRESSES:
        if name in known:
            return parse_pasted(known[name])
    if "code" not in known:
        raise InvalidRequest(
            'Send {"url": "…"} with the address your browser ended at, or {"code": "…"}.',
            code="missing_required_parameter",
            param="url",
        )
    pasted = parse_pasted(known["code"])
    return Callback(pasted.code, known["state"]) if "state" in known else pasted


def _json(value: Any) -> Response:
    return Response(encode_json(value), content_type="application/json", headers={"Cache-Control": "no-store"})
