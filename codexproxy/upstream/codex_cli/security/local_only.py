"""``CODEX_LOCAL_ONLY``: nothing may be sent to another machine.

Several walls, since each has a gap. What config.toml says is inspected before
each run, and the local server is asked whether it redirects. What was inspected
is pinned on the command line, so that no other layer of configuration (the
system's, a project's) changes it. And the CLI gets a dead proxy for every host
that is not this one, so that neither a redirect nor anything else it does
reaches out. What heeds no proxy (telemetry over gRPC, programs that are told of
each turn, servers of tools) is switched off. Where the kernel can, it holds the
CLI and all that it starts to the port of the local server (``landlocked``).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from codexproxy.errors import InvalidRequest
from codexproxy.upstream.codex_cli.process.environment import PROXIES
from codexproxy.upstream.codex_cli.security.config_file import BUILT_IN, CliConfig
from codexproxy.upstream.codex_cli.security.loopback import local_host

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
