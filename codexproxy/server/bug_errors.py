"""What a caller is told of a bug."""

from codexproxy.errors import ProxyError


def internal_error(request_id: str) -> ProxyError:
    """No traceback, but what to report."""
    return ProxyError(f"Something went wrong inside the proxy. Please report it with the request id {request_id}.")
