"""Errors as JSON, whatever raised them."""

import logging
import math

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from codexproxy import errors
from codexproxy.server.bug_errors import internal_error
from codexproxy.server.codex_request import error_reply
from codexproxy.server.request_context import current
from codexproxy.server.unsupported_routes import absent_at

NOT_IMPLEMENTED = 501

log = logging.getLogger(__name__)


def register(app: Flask) -> None:
    """Makes every failure of the application an error object."""
    app.register_error_handler(errors.ProxyError, render)
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(RecursionError, _from_depth)
    app.register_error_handler(Exception, _from_bug)


def render(error: errors.ProxyError) -> Response:
    """The error as an HTTP answer of the OpenAI API."""
    current().failed(error)
    response = error_reply(error)
    if error.resets_at is not None or error.status == NOT_IMPLEMENTED:
        # The SDKs would try twice more, at once (docs/reference/clients.md#unexplained-limits).
        response.headers["x-should-retry"] = "false"
    elif error.wait is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(error.wait)))
    return response


def _from_http(error: HTTPException) -> Response:
    path = request.environ.get("codexproxy.path", request.path)
    # It would keep the frames that it came through, and they the request.
    request.routing_exception = None
    offered = isinstance(error, MethodNotAllowed)
    if (offered or isinstance(error, NotFound)) and (
        absent := absent_at(request.method, request.path, offered=offered)
    ):
        return render(absent)
    if isinstance(error, NotFound):
        return render(errors.UnknownRoute(f"Unknown route: {request.method} {path}. See /v1/models for a start."))
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        response = render(errors.MethodNotAllowed(f"{request.method} is not allowed on {path}. Allowed: {allowed}."))
        response.headers["Allow"] = allowed
        return response
    return render(errors.InvalidRequest(error.description or error.name, status=error.code or 400))


def _from_depth(error: Exception) -> Response:
    return render(errors.InvalidRequest("The request is nested too deeply. Please send a flatter one."))


def _from_bug(error: Exception) -> Response:
    log.exception("bug while answering")
    return render(internal_error(current().request_id))
