"""Which request is being served here.

A context variable belongs to one greenlet or thread. Code that starts another
one for the same request hands the id on with `bind_request_id`.
"""

from contextvars import ContextVar

NO_REQUEST = "-"

_request_id: ContextVar[str] = ContextVar("codexproxy_request_id", default=NO_REQUEST)


def bind_request_id(request_id: str) -> None:
    """Names the request that this greenlet serves from now on."""
    _request_id.set(request_id)


def current_request_id() -> str:
    """The id of the request being served, ``-`` outside of any."""
    return _request_id.get()
