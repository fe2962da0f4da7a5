"""The OAuth issuer: authorize, token, revoke (docs/reference/sign-in.md)."""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson

from codexproxy.simulator.connection import Answer, Performance
from codexproxy.simulator.delivery import Cut, Send, Sleep, Step
from codexproxy.simulator.http import Request
from codexproxy.simulator.refusals import Refusal
from codexproxy.simulator.replies import Reply, html_reply, json_reply, redirect
from codexproxy.simulator.responses import scripted_reply
from codexproxy.simulator.rules import Active
from codexproxy.simulator.tokens import CLIENT_ID, Login, RefreshRefused

if TYPE_CHECKING:
    from codexproxy.simulator.world import World

Json = dict[str, Any]

CALLBACK_HOSTS = ("localhost", "127.0.0.1")
CALLBACK_PATH = "/auth/callback"
REGISTERED_PORTS = (1455, 1457)
CHALLENGE_LENGTH = 43


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code that waits for its exchange."""

    login: Login
    redirect_uri: str
    challenge: str


@dataclass(slots=True)
class Codes:
    """Authorization codes; each works once."""

    waiting: dict[str, Code] = field(default_factory=dict)

    def issue(self, code: Code) -> str:
        """A new code."""
        name = "ac_" + secrets.token_urlsafe(32)
        self.waiting[name] = code
        return name

    def spend(self, name: str) -> Code | None:
        """What the code stands for; None when it is unknown or was used."""
        return self.waiting.pop(name, None)


def s256(verifier: str) -> str:
    """The code challenge of a verifier (RFC 7636 §4.2)."""
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


# --- /oauth/authorize -------------------------------------------------------------------


def authorize_page(world: "World", request: Request) -> Answer:
    """The page with the button; an immediate redirect under the rules auto_approve and deny_login."""
    rules = world.rules.active(request)
    query = request.query
    flaw = _redirect_flaw(query, rules)
    if flaw:
        return html_reply(f"<h1>Sign-in is not possible</h1><p>{escape(flaw)}</p>", 400)
    flaw = _request_flaw(query)
    if flaw:
        return _back(query, error="invalid_request", error_description=flaw)
    if rules.fires("deny_login"):
        description = rules.option("deny_login", "description", "The person said no")
        return _back(query, error="access_denied", error_description=description)
    if rules.on("auto_approve"):
        return _approved(world, query)
    return html_reply(_page(query))


def decide(world: "World", request: Request) -> Answer:
    """The button of the page was pressed."""
    query = {name: value for name, value in request.query.items() if name != "decision"}
    flaw = _redirect_flaw(query, world.rules.active(request)) or _request_flaw(query)
    if flaw:
        return html_reply(f"<p>{escape(flaw)}</p>", 400)
    if request.query.get("decision") != "allow":
        return _back(query, error="access_denied", error_description="The person said no")
    return _approved(world, query)


def _redirect_flaw(query: dict[str, str], rules: Active) -> str | None:
    if query.get("client_id") != CLIENT_ID:
        return "unknown client_id"
    uri = urlsplit(query.get("redirect_uri", ""))
    if uri.hostname not in CALLBACK_HOSTS or uri.path != CALLBACK_PATH or uri.scheme != "http":
        return "redirect_uri is not registered"
    if rules.on("registered_ports_only") and uri.port not in REGISTERED_PORTS:
        return "redirect_uri is not registered: its port is not 1455 or 1457"
    return None


def _request_flaw(query: dict[str, str]) -> str | None:
    checks: list[tuple[bool, str]] = [
        (query.get("response_type") == "code", "response_type must be code"),
        (bool(query.get("state")), "state is missing"),
        (query.get("code_challenge_method") == "S256", "code_challenge_method must be S256"),
        (len(query.get("code_challenge", "")) == CHALLENGE_LENGTH, "code_challenge must have 43 characters"),
        ("openid" in query.get("scope", "").split(), "scope must hold openid"),
    ]
    return next((message for good, message in checks if not good), None)


def _approved(world: "World", query: dict[str, str]) -> Reply:
    login = Login(**world.person, scope=query["scope"])
    code = world.codes.issue(Code(login, query["redirect_uri"], query["code_challenge"]))
    return _back(query, code=code, scope=query["scope"])


def _back(query: dict[str, str], **fields: str) -> Reply:
    if query.get("state"):
        fields["state"] = query["state"]
    return redirect(f"{query['redirect_uri']}?{urlencode(fields)}")


def _page(query: dict[str, str]) -> str:
    hidden = "".join(f'<input type="hidden" name="{escape(k)}" value="{escape(v)}">' for k, v in query.items())
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Simulated sign-in</title></head><body>'
        "<h1>Simulated sign-in</h1><p>No account is needed; this page stands in for the real one.</p>"
        f'<form action="/oauth/authorize/decision">{hidden}'
        '<button name="decision" value="allow">Allow</button> '
        '<button name="decision" value="deny">Cancel</button></form></body></html>'
    )


# --- /oauth/token -----------------------------------------------------------------------


def token(world: "World", request: Request) -> Answer:
    """Code exchange and refresh; takes form and JSON bodies."""
    script = world.scripts.take("token", request)
    if script is not None:
        return scripted_reply(script)
    rules = world.rules.active(request)
    try:
        fields = read_fields(request)
        grant = _GRANTS.get(str(fields.get("grant_type")))
        if grant is None:
            raise _refused(rules, "unsupported_grant_type", "This grant_type is not supported.")
        if fields.get("client_id") != CLIENT_ID:
            raise _refused(rules, "invalid_client", "Unknown client_id.", 401)
        return grant(world, fields, rules)
    except Refusal as refusal:
        return refusal.reply()


def read_fields(request: Request) -> Json:
    """The fields of a form or JSON body.

    Raises:
        Refusal: It is neither.
    """
    try:
        if "json" in request.headers.get("content-type", ""):
            fields = request.json()
        else:
            fields = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise Refusal(400, {"error": "invalid_request", "error_description": "The body cannot be read."})
    return fields


def _refused(rules: Active, code: str, message: str, status: int = 400) -> Refusal:
    if rules.on("oauth_string_errors"):
        return Refusal(status, {"error": code, "error_description": message})
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return Refusal(status, {"error": error})


def _exchange(world: "World", fields: Json, rules: Active) -> Answer:
    for name in ("code", "redirect_uri", "code_verifier"):
        if not fields.get(name):
            raise _refused(rules, "invalid_request", f"{name} is missing.")
    code = world.codes.spend(fields["code"])
    if code is None:
        raise _refused(rules, "invalid_grant", "The authorization code is unknown or was used already.")
    if fields["redirect_uri"] != code.redirect_uri:
        raise _refused(rules, "invalid_grant", "redirect_uri differs from the one of the authorization.")
    if s256(fields["code_verifier"]) != code.challenge:
        raise _refused(rules, "invalid_grant", "code_verifier does not fit the code_challenge.")
    world.recorder.counts["exchanges"] += 1
    return json_reply(world.tokens.issue(code.login).as_oauth())


_REFRESH_MESSAGES = {
    "refresh_token_expired": "Your refresh token has expired. Please try signing in again.",
    "refresh_token_reused": (
        "Your refresh token has already been used to generate a new access token. Please try signing in again."
    ),
    "refresh_token_invalidated": "Your refresh token has been revoked. Please try signing in again.",
}


def _refresh(world: "World", fields: Json, rules: Active) -> Answer:
    _forced_refusal(rules)
    if not fields.get("refresh_token"):
        raise _refused(rules, "invalid_request", "refresh_token is missing.")
    given = str(fields["refresh_token"])
    try:
        login = world.tokens.spend(given)
    except RefreshRefused as refused:
        if refused.code == "refresh_token_reused" and rules.on("reuse_revokes_family"):
            world.tokens.revoke_family(world.tokens.refresh[given].login)
        raise _terminal(rules, refused.code) from refused
    world.recorder.counts["refreshes"] += 1
    answer = world.tokens.issue(login, -60 if rules.fires("refresh_still_expired") else None).as_oauth()
    if rules.fires("refresh_omits"):
        omitted = rules.option("refresh_omits", "fields", ["id_token", "refresh_token"])
        answer = {name: value for name, value in answer.items() if name not in omitted}
    if rules.fires("refresh_cut_after_rotation"):
        world.recorder.counts["refreshes_cut"] += 1
        return Performance(iter([Cut("close")]), lasting=False)
    if rules.fires("refresh_slow"):
        return Performance(_late(answer, rules.option("refresh_slow", "ms", 1000) / 1000))
    return json_reply(answer)


def _late(answer: Json, seconds: float) -> Iterator[Step]:
    yield Sleep(seconds)
    yield Send(json_reply(answer).render(keep_alive=True))


_FORCED = {
    "refresh_expired": "refresh_token_expired",
    "refresh_reused": "refresh_token_reused",
    "refresh_invalidated": "refresh_token_invalidated",
    "refresh_other_401": "something_new",
}


def _forced_refusal(rules: Active) -> None:
    for name, code in _FORCED.items():
        if rules.fires(name):
            raise _terminal(rules, code)
    if rules.fires("refresh_invalid_grant"):
        raise Refusal(400, {"error": "invalid_grant", "error_description": "Unknown or invalid refresh token."})
    if rules.fires("refresh_unavailable"):
        status = int(rules.option("refresh_unavailable", "status", 503))
        raise Refusal(status, {"error": {"message": "Service unavailable", "type": "server_error", "code": None}})


def _terminal(rules: Active, code: str) -> Refusal:
    status = 400 if rules.on("terminal_refresh_is_400") else 401
    message = _REFRESH_MESSAGES.get(code, "Could not validate your token. Please try signing in again.")
    return _refused(rules, code, message, status)


_GRANTS: dict[str, Callable[["World", Json, Active], Answer]] = {
    "authorization_code": _exchange,
    "refresh_token": _refresh,
}


# --- /oauth/revoke ----------------------------------------------------------------------


def revoke(world: "World", request: Request) -> Answer:
    """Revokes a token; an unknown one is no error (RFC 7009 §2.2)."""
    script = world.scripts.take("revoke", request)
    if script is not None:
        return scripted_reply(script)
    try:
        fields = read_fields(request)
    except Refusal as refusal:
        return refusal.reply()
    world.recorder.counts["revocations"] += world.tokens.revoke(str(fields.get("token")))
    return Reply(200, [("content-type", "application/json")], orjson.dumps({}))
