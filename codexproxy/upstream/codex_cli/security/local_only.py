"""``CODEX_LOCAL_ONLY``: nothing may be sent to another machine.

Several walls, since each has a gap. What config.toml says is inspected before
each run, and the local server is asked whether it redirects. What was inspected
is pinned on the command line, so that no other layer of configuration (the
system's, a project's) changes it. And the CLI gets a dead proxy for every host
that is not this one, so that neither a redirect nor anything else it does
reaches out. What heeds no proxy (telemetry over gRPC, programs that are told of
each turn, servers of tools) is switched off. Where the kernel can, it holds the
CLI and all that it starts to the port of the local server (``landlocked``).

Whether a URL leads to this machine is decided as the URL standard reads hosts (WHATWG
URL §3.5), because that is what the CLI's HTTP client does: ``0x7f.1`` and
``2130706433`` are 127.0.0.1 to it. What clients are known to read in different ways
(backslashes, control characters, two ``@``, percent signs in hosts) is never local.

The CLI follows redirects. ``walled_in`` keeps it from arriving anywhere, but it would
try for as long as it may, so a local server is asked first where it leads.
"""

import http.client
import ipaddress
import re
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from codexproxy.errors import InvalidRequest
from codexproxy.upstream.codex_cli.security.config_file import BUILT_IN, CliConfig

# Where requests go by; such a URL may hold a user and a password.
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_SCHEMES = frozenset({"http", "https", "ws", "wss"})

# Names that every resolver answers by itself; ``x.localhost`` is asked of DNS by some.
_NAMES = frozenset({"localhost"})

_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+", re.IGNORECASE | re.ASCII)
_PORT = re.compile(r"[0-9]{0,5}", re.ASCII)


def is_local_url(url: str) -> bool:
    """Whether requests to this URL stay on this machine."""
    return local_host(url) is not None


def local_host(url: str) -> str | None:
    """The local host a URL names, written plainly; None when it is not local for certain."""
    if not url.isascii() or "\\" in url or any(ord(character) <= 32 or ord(character) == 127 for character in url):
        return None
    found = _URL.fullmatch(url)
    if found is None or found["scheme"].lower() not in _SCHEMES:
        return None
    host = _host_of(found["authority"])
    return _plain(host.lower()) if host else None


def _host_of(authority: str) -> str | None:
    userinfo, _, place = authority.rpartition("@")
    if "@" in userinfo or "%" in place:
        return None
    host, port = _split_port(place)
    return host if _PORT.fullmatch(port) and int(port or 0) <= 65535 else None


def _split_port(place: str) -> tuple[str, str]:
    if place.startswith("["):
        host, bracket, port = place.partition("]")
        whole = bracket and (not port or port[0] == ":")
        return (host + bracket, port[1:]) if whole else ("", "")
    host, _, port = place.partition(":")
    return host, port


def _plain(host: str) -> str | None:
    if host.startswith("["):
        return _plain_v6(host[1:-1])
    name = host.removesuffix(".")
    if name in _NAMES:
        return name
    address = _v4(name)
    return str(address) if address is not None and _stays(address) else None


def _plain_v6(text: str) -> str | None:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    if "%" in text or not _stays(address.ipv4_mapped or address):
        return None
    return f"[{address}]"


def _stays(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    # A connection to the unspecified address is one to this machine.
    return address.is_loopback or address.is_unspecified


def _v4(host: str) -> ipaddress.IPv4Address | None:
    """An IPv4 host of one to four numbers, decimal, octal or hexadecimal; the last one fills the rest."""
    parts = host.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    try:
        *firsts, last = (_number(part) for part in parts)
    except ValueError:
        return None
    if any(number > 255 for number in firsts) or last >= 256 ** (4 - len(firsts)):
        return None
    return ipaddress.IPv4Address(last + sum(number << (24 - 8 * place) for place, number in enumerate(firsts)))


def _number(text: str) -> int:
    if text[:2].lower() == "0x":
        return int(text[2:] or "0", 16)
    return int(text, 8) if len(text) > 1 and text[0] == "0" else int(text)


# How long, in seconds, an answer counts, and how long we wait for one.
REMEMBERED = 60.0
PATIENCE = 3.0

# As many hops as the CLI's client follows.
MOST_HOPS = 10

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Redirects:
    """Asks local servers where they lead, each once in a while.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, bool]] = {}

    def leads_elsewhere(self, base_url: str) -> bool:
        """Whether requests to this local URL end on another machine, as far as the server tells."""
        asked, elsewhere = self._known.get(base_url, (float("-inf"), False))
        if self._clock() - asked >= REMEMBERED:
            elsewhere = _leads_elsewhere(f"{base_url.rstrip('/')}/responses")
            self._known[base_url] = (self._clock(), elsewhere)
        return elsewhere


def _leads_elsewhere(url: str) -> bool:
    for _ in range(MOST_HOPS):
        if not is_local_url(url):
            return True
        target = _redirect_of(url)
        if target is None:
            return False
        url = urljoin(url, target)
    return True


def _redirect_of(url: str) -> str | None:
    """Where one request is sent on to; None when it is answered, or by nobody."""
    parts = urlsplit(url.replace("ws", "http", 1) if url.lower().startswith("ws") else url)
    connection = _connection(parts.scheme.lower(), parts.hostname or "", parts.port)
    try:
        # Nothing of anybody's is in this request.
        connection.request("POST", parts.path or "/", body=b"{}", headers={"content-type": "application/json"})
        response = connection.getresponse()
        return response.getheader("location") if response.status in _REDIRECTS else None
    except (OSError, http.client.HTTPException):
        # Whatever is wrong with it, the CLI will tell.
        return None
    finally:
        connection.close()


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        # Whose certificate it is does not matter for where it leads.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=context)
    return http.client.HTTPConnection(host, port, timeout=PATIENCE)


# Built-in providers that serve open models on this machine, at a fixed address.
_LOCAL_BUILT_IN = {"ollama": "http://localhost:11434/v1", "lmstudio": "http://localhost:1234/v1"}

# The built-in provider reaches out to both, whichever login is used
# (docs/reference/codex-cli.md#as-a-client-of-the-chatgpt-backend).
_OPENAI_URLS = ("openai_base_url", "chatgpt_base_url")

# Others could not be named on a command line without doubt.
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)

# Nobody answers at the discard port, and it is on this machine anyway.
NOWHERE = "http://127.0.0.1:9"


def require_local(config: CliConfig, leads_elsewhere: Callable[[str], bool] = lambda url: False) -> tuple[str, ...]:
    """Refuses a configuration that leads to another machine.

    Args:
        config: The CLI's configuration.
        leads_elsewhere: Whether the server at a local URL sends its callers to another machine.

    Returns:
        The local hosts the CLI will call.

    Raises:
        InvalidRequest: ``local_only``.
    """
    urls = [url if isinstance(url, str) else "" for url in provider_urls(config).values()]
    hosts = [local_host(url) for url in urls]
    if None in hosts or not _PLAIN_ID.fullmatch(config.provider):
        raise _refusal(config, "is not on this machine")
    if any(leads_elsewhere(url) for url in urls):
        raise _refusal(config, "redirects to another machine")
    return tuple(dict.fromkeys(host for host in hosts if host))


def local_ports(config: CliConfig) -> tuple[int, ...]:
    """The TCP ports of what the CLI will call, once ``require_local`` has passed it."""
    parts = [urlsplit(url) for url in provider_urls(config).values() if isinstance(url, str)]
    return tuple(dict.fromkeys(part.port or _DEFAULT_PORTS.get(part.scheme.lower(), 443) for part in parts))


_DEFAULT_PORTS = {"http": 80, "ws": 80}


def require_silent_dotenv(text: str) -> None:
    """Refuses a ``.env`` in the CLI's home that would take the wall down: the CLI lays it over its environment.

    Raises:
        InvalidRequest: ``local_only``.
    """
    if "proxy" in text.lower():
        raise InvalidRequest(
            "CODEX_LOCAL_ONLY is set, and the file .env in the Codex CLI's home names a proxy. "
            "Please take that line out.",
            code="local_only",
        )


def _refusal(config: CliConfig, what: str) -> InvalidRequest:
    return InvalidRequest(
        f"CODEX_LOCAL_ONLY is set, and the Codex CLI's provider {config.provider[:60]!r} {what}. "
        "Please choose a `model_provider` with a local `base_url` in its config.toml.",
        code="local_only",
    )


def provider_urls(config: CliConfig) -> dict[str, Any]:
    """Where the chosen provider leads: configuration key -> URL, None where it is the provider's own remote one."""
    name = config.provider
    if name == BUILT_IN:
        # An entry of that name is not read; these two keys are all that moves it.
        return {key: config.top.get(key) for key in _OPENAI_URLS}
    found = {key: value for key, value in config.provider_table.items() if key.endswith(("_url", "_origin"))}
    urls = {"base_url": _LOCAL_BUILT_IN.get(name), **found}
    return {f"model_providers.{name}.{key}": url for key, url in urls.items()}


def local_pins(config: CliConfig) -> dict[str, Any]:
    """Configuration for the command line that keeps the CLI at what was inspected."""
    # A built-in provider has no entry, and the CLI refuses to be given one.
    urls = {} if config.provider in _LOCAL_BUILT_IN else provider_urls(config)
    return {"model_provider": config.provider, **urls, **_SILENT, **without_helpers(config)}


def without_helpers(config: CliConfig) -> dict[str, Any]:
    """Configuration for the command line that starts nothing outside of the sandbox: tool servers, hooks, plugins."""
    servers = config.top.get("mcp_servers")
    names = servers if isinstance(servers, Mapping) else {}
    off = {"mcp_servers": {name: {"enabled": False} for name in names}} if names else {}
    return {**off, **{f"features.{name}": False for name in _HELPERS}, "notify": []}


_HELPERS = ("apps", "hooks", "memories", "plugins", "remote_plugin")

_SILENT: dict[str, Any] = {
    "web_search": "disabled",
    "analytics.enabled": False,
    "feedback.enabled": False,
    "check_for_update_on_startup": False,
    "otel.exporter": "none",
    "otel.trace_exporter": "none",
    "otel.metrics_exporter": "none",
    "otel.log_user_prompt": False,
}


def walled_in(environment: Mapping[str, str], hosts: tuple[str, ...]) -> dict[str, str]:
    """The environment with a dead proxy for every host but these."""
    direct = ",".join(dict.fromkeys([*(host.strip("[]") for host in hosts), "localhost", "127.0.0.0/8", "::1"]))
    return {**environment, **dict.fromkeys(PROXIES, NOWHERE), "NO_PROXY": direct, "no_proxy": direct}
