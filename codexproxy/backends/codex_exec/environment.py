"""The environment the CLI runs in: what it needs, and nothing of ours."""

from collections.abc import Iterable, Mapping
from pathlib import Path

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
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
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


def hidden_from_commands(secrets: Iterable[str], excluded: object) -> dict[str, object]:
    """Configuration that keeps keys out of the environment of the commands a model runs.

    By itself the CLI hands all of its environment on, its provider's key included.

    Args:
        secrets: Names that hold keys.
        excluded: What the CLI's configuration excludes already.
    """
    already = [name for name in excluded if isinstance(name, str)] if isinstance(excluded, list) else []
    names = list(dict.fromkeys([*already, *LOGIN, *secrets]))
    return {"shell_environment_policy.exclude": names}
