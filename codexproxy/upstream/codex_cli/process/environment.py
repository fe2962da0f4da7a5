"""The environment the CLI runs in: what it needs, and nothing of ours."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

# Where requests go by; such a URL may hold a user and a password.
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")

# Names handed on when they are set. Our own keys and tokens are not among them.
NEEDED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CODEX_CA_CERTIFICATE",
    *PROXIES,
    "NO_PROXY",
    "no_proxy",
)

# The CLI's own ways to be let in besides its login.
LOGIN = ("CODEX_API_KEY", "CODEX_ACCESS_TOKEN")

# Marks every process of a run, so that none is left behind.
RUN = "CODEXPROXY_RUN"


def reduced(
    environment: Mapping[str, str], secrets: Iterable[str], home: Path, temporary: Path, run: str
) -> dict[str, str]:
    """What the CLI gets to see.

    Args:
        environment: What there is.
        secrets: Further names that its configuration reads keys from.
        home: The CLI's own folder.
        temporary: Folder for temporary files of this run.
        run: Identity of this run.
    """
    names = dict.fromkeys([*NEEDED, *LOGIN, *secrets])
    kept = {name: environment[name] for name in names if name in environment}
    return {**kept, "CODEX_HOME": str(home), "TMPDIR": str(temporary), RUN: run}


def of_commands(environment: Mapping[str, str], secrets: Iterable[str], excluded: object, home: Path) -> dict[str, Any]:
    """Configuration of the environment of the commands a model runs: a shell's few names, and no key.

    By itself the CLI hands all of its environment on, its provider's key included, and starts a login shell, whose
    profile may add keys again. What the owner sets for commands in config.toml stays.

    Args:
        environment: The CLI's own.
        secrets: Names that hold keys.
        excluded: What the CLI's configuration excludes already.
        home: The CLI's own folder.
    """
    already = [name for name in excluded if isinstance(name, str)] if isinstance(excluded, list) else []
    proxies = {name: without_userinfo(environment[name]) for name in PROXIES if name in environment}
    direct = {name: environment[name] for name in ("NO_PROXY", "no_proxy") if name in environment}
    given = {**proxies, **direct, "CODEX_HOME": str(home)}
    return {
        "allow_login_shell": False,
        "shell_environment_policy.inherit": "core",
        "shell_environment_policy.include_only": [],
        "shell_environment_policy.exclude": list(dict.fromkeys([*already, *LOGIN, *secrets])),
        **{f"shell_environment_policy.set.{name}": value for name, value in given.items()},
    }


def without_userinfo(url: str) -> str:
    """A proxy's URL without its user and password; empty when it cannot be read."""
    scheme, mark, rest = url.rpartition("://")
    try:
        parts = urlsplit(f"{scheme or 'http'}://{rest}")
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        place = host if parts.port is None else f"{host}:{parts.port}"
    except ValueError:
        return ""
    if "@" in place or not place:
        return ""
    return urlunsplit((scheme, place, "", "", "")) if mark else place


def userinfo_of(url: str) -> str:
    """The password of a proxy's URL, or its user where there is no password; empty when it has neither."""
    userinfo = url.rpartition("://")[2].rpartition("@")[0]
    return userinfo.partition(":")[2] or userinfo
