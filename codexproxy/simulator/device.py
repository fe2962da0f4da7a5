"""Login with a code on another device (docs/reference/sign-in.md#device-code)."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from codexproxy.simulator.connection import Answer
from codexproxy.simulator.http import Request
from codexproxy.simulator.issuer import Code, read_fields, s256
from codexproxy.simulator.refusals import Refusal
from codexproxy.simulator.replies import Reply, html_reply, json_reply
from codexproxy.simulator.responses import scripted_reply
from codexproxy.simulator.tokens import CLIENT_ID, Login

if TYPE_CHECKING:
    from codexproxy.simulator.world import World

LIFETIME = 15 * 60
ALPHABET = "BCDFGHJKLMNPQRSTVWXZ23456789"
REDIRECT_PATH = "/deviceauth/callback"


@dataclass(slots=True)
class Attempt:
    """One login under way: ``pending``, ``approved``, ``denied`` or ``done``."""

    device_auth_id: str
    user_code: str
    expires_at: float
    state: str = "pending"


class DeviceCodes:
    """The logins under way.

    Attributes:
        interval: Seconds between polls, as the text that is sent.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.interval = "5"
        self.attempts: list[Attempt] = []

    def begin(self) -> Attempt:
        """A new attempt with a fresh code."""
        letters = [secrets.choice(ALPHABET) for _ in range(9)]
        code = "".join(letters[:4]) + "-" + "".join(letters[4:])
        attempt = Attempt("deviceauth_" + secrets.token_hex(16), code, self._clock() + LIFETIME)
        self.attempts.append(attempt)
        return attempt

    def find(self, **fields: Any) -> Attempt | None:
        """The attempt with these fields whose time is not over."""
        alive = [attempt for attempt in self.attempts if attempt.expires_at > self._clock()]
        fits = (a for a in alive if all(getattr(a, name) == value for name, value in fields.items()))
        return next(fits, None)

    def settle(self, user_code: str | None, state: str) -> bool:
        """Approves or denies the attempt of a code; without a code, the newest pending one."""
        if user_code is None:
            attempt = next((a for a in reversed(self.attempts) if a.state == "pending"), None)
        else:
            attempt = self.find(user_code=user_code.strip().upper(), state="pending")
        if attempt is not None:
            attempt.state = state
        return attempt is not None


def usercode(world: "World", request: Request) -> Answer:
    """Begins a device login."""
    script = world.scripts.take("usercode", request)
    if script is not None:
        return scripted_reply(script)
    if world.rules.active(request).on("device_disabled"):
        return json_reply({"detail": "Not Found"}, 404)
    try:
        fields = read_fields(request)
    except Refusal as refusal:
        return refusal.reply()
    if fields.get("client_id") != CLIENT_ID:
        return _error("invalid_client", "Unknown client_id.", 400)
    attempt = world.devices.begin()
    answer = {"device_auth_id": attempt.device_auth_id, "user_code": attempt.user_code}
    return json_reply({**answer, "interval": world.devices.interval})


def poll(world: "World", request: Request) -> Answer:
    """One poll: pending is 403 or 404, approval hands out a code and the PKCE pair the server chose."""
    script = world.scripts.take("device_token", request)
    if script is not None:
        return scripted_reply(script)
    world.recorder.polls.append(world.clock())
    try:
        fields = read_fields(request)
    except Refusal as refusal:
        return refusal.reply()
    asked = {name: fields.get(name) for name in ("device_auth_id", "user_code")}
    attempt = world.devices.find(**asked)
    if attempt is None or attempt.state == "done":
        return _error("deviceauth_invalid", "The code is unknown, used or too old. Please start again.", 400)
    if attempt.state == "denied":
        return _error("access_denied", "The person said no.", 400)
    if attempt.state == "pending":
        status = 404 if world.rules.active(request).on("device_pending_is_404") else 403
        return _error("deviceauth_authorization_pending", "Waiting for the person.", status)
    attempt.state = "done"
    verifier = secrets.token_urlsafe(48)
    code = Code(Login(**world.person), request.base_url + REDIRECT_PATH, s256(verifier))
    answer = {"authorization_code": world.codes.issue(code), "code_challenge": code.challenge}
    return json_reply({**answer, "code_verifier": verifier})


def _error(code: str, message: str, status: int) -> Reply:
    return json_reply({"error": {"message": message, "type": "invalid_request_error", "code": code}}, status)


def page(world: "World", request: Request) -> Answer:
    """The page where a person types the code; its form comes back here."""
    given = request.query.get("user_code")
    if given:
        state = "denied" if request.query.get("decision") == "deny" else "approved"
        found = world.devices.settle(given, state)
        told = f"Done: {state}. You can close this page." if found else f"No login waits for {given}."
        return html_reply(f"<h1>Simulated sign-in</h1><p>{escape(told)}</p>", 200 if found else 404)
    return html_reply(
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Simulated sign-in</title></head><body>'
        '<h1>Simulated sign-in</h1><form action="/codex/device"><label>Code <input name="user_code"></label> '
        '<button name="decision" value="allow">Allow</button> <button name="decision" value="deny">Cancel</button>'
        "</form></body></html>"
    )
