"""From where a request may come: the Host and Origin rules of a service without keys.

A page in a browser can make requests to loopback ports (drive-by), and a name
under its author's control can be pointed at loopback (DNS rebinding). Neither
can present a key, so with a valid key nothing here refuses.
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
class Approach:
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

    def check(self, approach: Approach) -> None:
        """Lets a request pass or says why not.

        Raises:
            PermissionRefused: ``origin_not_allowed``, for the Host and the Origin alike.
        """
        if approach.has_key or (approach.key_configured and not self.allow_unauthenticated):
            return
        if not self.allow_unauthenticated and (reason := _foreign(approach)):
            raise PermissionRefused(
                f"{reason}. Without an API key this service answers this machine alone. Set PROXY_API_KEY (or run "
                "'codexproxy keys add NAME') and send that key, or call http://127.0.0.1 directly.",
                code="origin_not_allowed",
            )
        if approach.origin is not None and not self._is_known(approach.origin, approach.host):
            raise PermissionRefused(
                "Web pages of this origin may not use this service. Add the origin to 'server.corsAllowOrigins' "
                "(CORS_ALLOW_ORIGINS), or set PROXY_API_KEY and send that key.",
                code="origin_not_allowed",
            )

    def is_owner(self, approach: Approach) -> bool:
        """Whether a request without a key speaks for the owner: there is no key, and this machine asks.

        ``*`` among the allowed origins is for pages that ask questions; none of them is the owner.
        """
        if approach.key_configured or _foreign(approach):
            return False
        if approach.origin is None:
            return True
        named = replace(self, cors_allow_origins=tuple(origin for origin in self.cors_allow_origins if origin != "*"))
        return named._is_known(approach.origin, approach.host)

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


def _foreign(approach: Approach) -> str:
    # Why a request is not one of this machine; empty when it is.
    if approach.proxy:
        return approach.proxy
    if not approach.remote_is_loopback:
        return "The request came from outside this machine"
    if not is_loopback_host(approach.host):
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
