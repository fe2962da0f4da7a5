"""Checks where a request comes from: the Host and Origin rules of a service without keys, CORS, signs of a proxy.

A page in a browser can make requests to loopback ports (drive-by), and a name
under its author's control can be pointed at loopback (DNS rebinding). Neither
can present a key, so requests with a valid key are not refused here.
"""

import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import urlsplit

from codexproxy.errors import PermissionRefused

_PORT = re.compile(r"\d{1,5}")
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_HEADER_LIST = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,4096}")

_METHODS = "GET, POST, DELETE, OPTIONS"
_EXPOSED = (
    "x-request-id, x-codexproxy-backend, x-codexproxy-ignored, x-codexproxy-adapted, openai-processing-ms, "
    "retry-after, x-should-retry, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, "
    "x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)


@dataclass(frozen=True, slots=True)
class RequestOrigin:
    """How one request comes to us.

    Attributes:
        host: Its ``Host`` header.
        origin: Its ``Origin`` header, None when absent.
        remote_is_loopback: Whether the connection's other end is a loopback address;
            a Unix socket has none and is not.
        proxy: What shows that a proxy passed the request on, a sentence's beginning; empty when nothing does.
        has_key: Whether it presented a valid key.
        key_configured: Whether any key exists.
    """

    host: str | None
    origin: str | None = None
    remote_is_loopback: bool = True
    proxy: str = ""
    has_key: bool = False
    key_configured: bool = False


@dataclass(frozen=True, slots=True)
class OriginPolicy:
    """The rules of one service.

    Attributes:
        allow_unauthenticated: Accepts any Host; foreign Origins stay refused.
        cors_allow_origins: Origins whose pages may call us; ``*`` stands for all.
        own_origins: Origins of our own pages, ``http://localhost:3000``.
    """

    allow_unauthenticated: bool = False
    cors_allow_origins: Collection[str] = ()
    own_origins: Collection[str] = ()

    def check(self, request_origin: RequestOrigin) -> None:
        """Lets a request pass or says why not.

        Raises:
            PermissionRefused: ``origin_not_allowed``, for the Host and the Origin alike.
        """
        if request_origin.has_key or (request_origin.key_configured and not self.allow_unauthenticated):
            return
        if not self.allow_unauthenticated and (reason := _foreign(request_origin)):
            raise PermissionRefused(
                f"{reason}. Without an API key this service only answers this machine. Set PROXY_API_KEY (or run "
                "'codexproxy keys add NAME') and send that key, or call http://127.0.0.1 directly.",
                code="origin_not_allowed",
            )
        if request_origin.origin is not None and not self._is_known(request_origin.origin, request_origin.host):
            raise PermissionRefused(
                "Web pages of this origin may not use this service. Add the origin to 'server.corsAllowOrigins' "
                "(CORS_ALLOW_ORIGINS), or set PROXY_API_KEY and send that key.",
                code="origin_not_allowed",
            )

    def is_owner(self, request_origin: RequestOrigin) -> bool:
        """Whether a request without a key speaks for the owner: there is no key, and this machine asks.

        ``*`` among the allowed origins is for pages that ask questions; none of them is the owner.
        """
        if request_origin.key_configured or _foreign(request_origin):
            return False
        if request_origin.origin is None:
            return True
        named = replace(self, cors_allow_origins=tuple(origin for origin in self.cors_allow_origins if origin != "*"))
        return named._is_known(request_origin.origin, request_origin.host)

    def cors_headers(
        self,
        origin: str | None,
        *,
        requested_headers: str | None = None,
        private_network: bool = False,
        preflight: bool = False,
    ) -> dict[str, str]:
        """CORS headers of an answer; ``{}`` for pages that are not allowed.

        Args:
            origin: The request's ``Origin``.
            requested_headers: ``Access-Control-Request-Headers`` of a pre-flight; all are granted.
            private_network: Whether ``Access-Control-Request-Private-Network: true`` was asked.
            preflight: Whether this answers a pre-flight.
        """
        if origin is None or not self._is_allowed(origin):
            return {"Vary": "Origin"} if self.cors_allow_origins else {}
        headers = {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": _EXPOSED,
            "Vary": "Origin",
        }
        return headers | _preflight_headers(requested_headers, private_network) if preflight else headers

    def _is_allowed(self, origin: str) -> bool:
        if "*" in self.cors_allow_origins:
            return True
        normal = normal_origin(origin)
        return normal is not None and normal in _normalised(self.cors_allow_origins)

    def _is_known(self, origin: str, host: str | None) -> bool:
        if self._is_allowed(origin):
            return True
        normal = normal_origin(origin)
        if normal is None:
            return False
        return normal in _normalised(self.own_origins) or _is_same_local_service(normal, host)


def _foreign(request_origin: RequestOrigin) -> str:
    # Why a request is not one of this machine; empty when it is.
    if request_origin.proxy:
        return request_origin.proxy
    if not request_origin.remote_is_loopback:
        return "The request came from outside this machine"
    if not is_loopback_host(request_origin.host):
        return "The request's Host is not a loopback name"
    return ""


def _preflight_headers(requested_headers: str | None, private_network: bool) -> dict[str, str]:
    headers = {"Access-Control-Allow-Methods": _METHODS, "Access-Control-Max-Age": "600"}
    # ``*`` would not cover Authorization, so the asked names are echoed.
    if requested_headers and _HEADER_LIST.fullmatch(requested_headers):
        headers["Access-Control-Allow-Headers"] = requested_headers
        headers["Vary"] = "Origin, Access-Control-Request-Headers"
    if private_network:
        headers["Access-Control-Allow-Private-Network"] = "true"
    return headers


def _normalised(origins: Collection[str]) -> set[str | None]:
    return {normal_origin(origin) for origin in origins}


def _is_same_local_service(origin: str, host: str | None) -> bool:
    # A page of ours under a mapped port: its origin is where the request went.
    if not is_loopback_host(host) or host is None:
        return False
    return origin in (normal_origin(f"http://{host}"), normal_origin(f"https://{host}"))


@lru_cache(maxsize=64)
def is_loopback_address(address: str | None) -> bool:
    """Whether a connection's other end is this machine; False for a Unix socket's empty address."""
    try:
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


@lru_cache(maxsize=64)
def is_loopback_host(host: str | None) -> bool:
    """Whether a ``Host`` header names this machine: ``localhost`` or a loopback address, with or without a port."""
    name = host_name(host)
    return name is not None and (name == "localhost" or is_loopback_address(name))


def host_name(host: str | None) -> str | None:
    """The name in a ``Host`` header, in lower case and without brackets; None when it is malformed."""
    text = (host or "").lower()
    if text.startswith("["):
        name, bracket, rest = text[1:].partition("]")
        return name if bracket and _is_port_suffix(rest) and is_ipv6(name) else None
    name, colon, port = text.partition(":")
    if not _NAME.fullmatch(name) or not _is_port_suffix(colon + port):
        return None
    # Behind a name a dot is its root; an address with one is none.
    return name if name.replace(".", "").isdigit() else name.removesuffix(".")


def _is_port_suffix(text: str) -> bool:
    return not text or (text.startswith(":") and (text == ":" or bool(_PORT.fullmatch(text[1:]))))


def is_ipv6(text: str) -> bool:
    """Whether a text is an IPv6 address."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def normal_origin(origin: str) -> str | None:
    """An origin in one spelling, ``scheme://host[:port]`` without a default port; None when it is none.

    ``null``, the origin of sandboxed pages, is none.
    """
    try:
        parts = urlsplit(origin.strip().lower().removesuffix("/"))
    except ValueError:
        return None
    if not parts.scheme or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    name = host_name(parts.netloc)
    if name is None:
        return None
    port = parts.netloc.rpartition("]")[2].partition(":")[2]
    shown = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{shown}" + (f":{port}" if port and port != _DEFAULT_PORTS.get(parts.scheme) else "")


def merge_vary(headers: Mapping[str, str], vary: str | None) -> str:
    """An answer's own ``Vary`` joined with that of the CORS headers, each name once."""
    names = ", ".join(filter(None, (vary, headers.get("Vary"))))
    return ", ".join(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


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
# nginx before 1.29.7 speaks so to its upstream by default; hardly any client does.
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
            return f"The request came through a proxy, as its header '{header}' shows"
    if environ.get("SERVER_PROTOCOL") in ("HTTP/1.0", "HTTP/0.9"):
        return f"The request uses {environ.get('SERVER_PROTOCOL')}, {_AS_NGINX}"
    if "close" in str(environ.get("HTTP_CONNECTION", "")).lower().replace(",", " ").split():
        return f"The request says 'Connection: close', {_AS_NGINX}"
    return ""
