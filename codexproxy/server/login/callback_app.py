"""The small app that the browser comes back to after signing in (docs/reference/sign-in.md#the-callback-server)."""

import logging
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, render_template, request
from markupsafe import Markup, escape
from werkzeug.exceptions import HTTPException

from codexproxy.access.origins import host_name, is_loopback_host
from codexproxy.errors import InvalidRequest, ProxyError
from codexproxy.login.oauth.browser_flow import LoginDenied, LoginFlow, StateMismatch
from codexproxy.login.oauth.callback import Callback
from codexproxy.login.oauth.pkce import same
from codexproxy.login.tokens.tokens import Tokens

log = logging.getLogger(__name__)

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

# Failure -> what the person can do, beyond what the message says.
_ADVICE = {
    "state_mismatch": "If a login is still waiting, it goes on: use the address it showed last.",
    "missing_codex_entitlement": "With more than one workspace, run `codexproxy login` again and choose another one.",
    "upstream_unavailable": "Check that this machine reaches the internet, then run `codexproxy login` again.",
    "storage_failed": "Fix that first, then run `codexproxy login` again. Your earlier login is still there.",
}
_USUAL_ADVICE = "Run `codexproxy login` again, or begin a new login where you began this one."

_CODE = re.compile(r"`([^`]+)`")


class LoginCancelled(InvalidRequest):
    """Somebody asked the callback app to leave."""

    code = "login_cancelled"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a login ended: with tokens, or with a failure."""

    tokens: Tokens | None = field(default=None, repr=False)
    failure: ProxyError | None = None


class Reception:
    """The pages of one callback app.

    Args:
        flow: The logins that wait; finishes them.
        ended: Told once how a login ended, before its page is sent.
        left: Called when the browser has the last page it needs.
    """

    def __init__(self, flow: LoginFlow, ended: Callable[[Ended], None], left: Callable[[], None]) -> None:
        self._flow = flow
        self._ended = ended
        self._left = left
        self._finished: tuple[str, Tokens] | None = None
        self._mark = secrets.token_urlsafe()

    def callback(self) -> Response:
        """``/auth/callback``: finishes the login."""
        callback = Callback.of(request.args.to_dict())
        if self._finished and same(self._finished[0], callback.state or ""):
            return self._to_success()  # the browser loaded the address twice
        try:
            tokens = self._flow.receive(callback)
        except StateMismatch as failure:
            return failure_page(failure)
        except ProxyError as failure:
            log.warning("The login did not succeed: %s", failure)
            return self._failed(failure)
        self._finished = (callback.state or "", tokens)
        self._ended(Ended(tokens))
        return self._to_success()

    def success(self) -> Response:
        """``/success``: who is signed in, for the browser that did it; others learn that somebody is."""
        if self._finished is None:
            return _page("login_note.html", title="Nobody has signed in here yet", text=_WAITING)
        if not same(self._mark, request.cookies.get(_COOKIE, "")):
            return _page("login_success.html", email="", plan="")
        identity = self._finished[1].identity
        return self._last(_page("login_success.html", email=identity.email, plan=identity.plan))

    def cancel(self) -> Response:
        """``/cancel``: a newer login asks this one to leave the port, and shows that it knows one that waits here."""
        if not self._flow.is_pending(request.args.get("state"), request.args.get("attempt")):
            return Response(_NOT_YOURS, HTTPStatus.FORBIDDEN, content_type="text/plain")
        self._ended(Ended(failure=LoginCancelled("Login cancelled: another login took its place.")))
        return self._last(Response("Login cancelled", content_type="text/plain"))

    def _to_success(self) -> Response:
        # Takes the code out of the address bar; relative, since a container may publish another port.
        response = Response(status=HTTPStatus.FOUND, headers={"Location": "/success"})
        # The way here began on the issuer's site, from where a strict cookie would not be sent along.
        response.set_cookie(_COOKIE, self._mark, max_age=_COOKIE_AGE, path="/success", httponly=True, samesite="Lax")
        return response

    def _failed(self, failure: ProxyError) -> Response:
        self._ended(Ended(failure=failure))
        return self._last(failure_page(failure))

    def _last(self, response: Response) -> Response:
        response.call_on_close(self._left)
        return response


_COOKIE = "codexproxy-login"
# Seconds; the app itself is gone sooner.
_COOKIE_AGE = 60
_NOT_YOURS = "Forbidden: only the program that began a login can cancel it, with ?state= and the state of its address."
_WAITING = "The sign-in is still waiting for you. Go back to the page of the login service and finish it there."


def create_callback_app(reception: Reception, redirect_host: str | None) -> Flask:
    """The app around its pages; everything but the three addresses is 404.

    Args:
        reception: The pages.
        redirect_host: The name that the issuer sends the browser to; others have to be loopback names,
            since a name of a stranger's may have been pointed at this machine.
    """
    app = Flask(__name__, static_folder=None, template_folder="../pages")
    app.jinja_env.filters["with_code"] = with_code
    app.before_request(lambda: _refused(redirect_host))
    app.before_request(_only_look)
    app.after_request(_guarded)
    for path, view in {
        "/auth/callback": reception.callback,
        "/success": reception.success,
        "/cancel": reception.cancel,
    }.items():
        app.add_url_rule(path, view_func=view, methods=["GET"], provide_automatic_options=False)
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(Exception, _from_bug)
    return app


def failure_page(failure: ProxyError) -> Response:
    """What the person sees when it did not work.

    A login that the issuer denied is answered with 200, as the real client does.
    """
    status = HTTPStatus.OK if isinstance(failure, LoginDenied) else failure.status
    advice = _ADVICE.get(failure.code or "", _USUAL_ADVICE)
    return _page("login_error.html", status, message=failure.message, advice=advice, code=failure.code)


def with_code(text: str) -> Markup:
    """A text for a page, its words in backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def _page(name: str, status: int = HTTPStatus.OK, **values: Any) -> Response:
    return Response(render_template(name, **values), status, content_type="text/html; charset=utf-8")


def _refused(redirect_host: str | None) -> Response | None:
    host = request.headers.get("host")
    if is_loopback_host(host) or (redirect_host is not None and host_name(host) == redirect_host):
        return None
    return Response("Forbidden: no login uses this host name.", HTTPStatus.FORBIDDEN, content_type="text/plain")


def _only_look() -> Response | None:
    # Whoever only looks (HEAD, as link previews do) must not use the code up.
    return Response() if request.method == "HEAD" else None


def _guarded(response: Response) -> Response:
    response.headers.update(_HEADERS)
    return response


def _from_http(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or HTTPStatus.NOT_FOUND)
    return Response(status.phrase, status, content_type="text/plain")


def _from_bug(error: Exception) -> Response:
    log.exception("bug in the callback app")
    return failure_page(ProxyError("Something went wrong in codexproxy. Its log says more."))
