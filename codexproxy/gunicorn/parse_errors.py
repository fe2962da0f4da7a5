"""Requests that gunicorn's parser refuses, and how we answer them."""

from dataclasses import dataclass

from gunicorn.http import errors as http

from codexproxy.gunicorn.bounded_parser import SlowHead

# gunicorn's parser errors -> status and reason (RFC 9110 §15.5, RFC 6585 §5). RFC 9112 §6.1 would have a 501 for
# transfer codings that are not known, which clients take for a failure of the service and try again.
_REFUSALS: tuple[tuple[type[Exception], int, str], ...] = (
    (http.LimitRequestLine, 414, "URI Too Long"),
    (http.LimitRequestHeaders, 431, "Request Header Fields Too Large"),
    (http.ExpectationFailed, 417, "Expectation Failed"),
    (http.ForbiddenProxyRequest, 403, "Forbidden"),
    (SlowHead, 408, "Request Timeout"),
    (http.ParseException, 400, "Bad Request"),
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a request that is no HTTP.

    Attributes:
        status: The status.
        reason: Its words in the status line.
        message: What is wrong, for the caller.
    """

    status: int
    reason: str
    message: str


def refusal_of(exc: BaseException) -> Refusal | None:
    """The answer to a parser's error; None for any other exception."""
    for kind, status, reason in _REFUSALS:
        if isinstance(exc, kind):
            return Refusal(status, reason, f"The HTTP request cannot be read: {str(exc)[:200]}")
    return None
