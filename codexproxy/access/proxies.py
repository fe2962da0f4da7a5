"""What shows that a request came through a proxy in front of the service."""

from collections.abc import Mapping

# Marks of a proxy in front of us: behind one, a loopback Host proves nothing,
# since nginx writes ``Host: 127.0.0.1`` by default.
FORWARDING_HEADERS = (
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-proxyuser-ip",
    "x-amzn-trace-id",
    "x-request-start",
    "true-client-ip",
    "cdn-loop",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-ipcountry",
    "cf-ray",
    "cf-visitor",
    "cf-worker",
    "client-ip",
    "do-connecting-ip",
    "proxy-client-ip",
    "wl-proxy-client-ip",
)
# And all that begin so: x-forwarded-for, x-original-host, x-envoy-external-address, tailscale-user-login …
FORWARDING_PREFIXES = (
    "x-forwarded",
    "x-original-",
    "x-envoy-",
    "x-azure-",
    "x-appengine-",
    "x-arr-",
    "x-vercel-",
    "fastly-",
    "fly-",
    "tailscale-",
)

_SPELLED = {f"HTTP_{name.upper().replace('-', '_')}": name for name in FORWARDING_HEADERS}
_BEGINNINGS = tuple(f"HTTP_{name.upper().replace('-', '_')}" for name in FORWARDING_PREFIXES)
# By these letters nearly every other name is passed over; each request has some forty of them.
_LETTERS = 8
_FIRST = frozenset(name[:_LETTERS] for name in (*_SPELLED, *_BEGINNINGS))
# nginx before 1.29.7 speaks so to what is behind it, unless it is told otherwise; hardly any client does.
_AS_NGINX = "which is how nginx passes requests on; please keep the connection open with HTTP/1.1"


def proxy_mark(environ: Mapping[str, object]) -> str:
    """What shows a proxy in front of us, as a sentence's beginning; empty when nothing does.

    A proxy that adds no header and speaks HTTP/1.1 as browsers do cannot be told from a client.

    Args:
        environ: The request's WSGI environment.
    """
    for name in environ:
        if name[:_LETTERS] in _FIRST and (name in _SPELLED or name.startswith(_BEGINNINGS)):
            header = _SPELLED.get(name) or name.removeprefix("HTTP_").replace("_", "-").lower()
            return f"The request came through a proxy, as its header '{header}' tells"
    if environ.get("SERVER_PROTOCOL") in ("HTTP/1.0", "HTTP/0.9"):
        return f"The request uses {environ.get('SERVER_PROTOCOL')}, {_AS_NGINX}"
    if "close" in str(environ.get("HTTP_CONNECTION", "")).lower().replace(",", " ").split():
        return f"The request says 'Connection: close', {_AS_NGINX}"
    return ""
