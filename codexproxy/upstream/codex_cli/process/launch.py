"""Starts the Codex CLI: checks its configuration, builds its environment, counts its processes.

The environment holds what the CLI needs and none of our own secrets.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from codexproxy.errors import InvalidRequest, RateLimited
from codexproxy.observability.redaction import Redactor
from codexproxy.storage.atomic_file import make_private_folder
from codexproxy.upstream.base import Permits
from codexproxy.upstream.codex_cli.process.pool import Unlimited
from codexproxy.upstream.codex_cli.process.process import CliProcess
from codexproxy.upstream.codex_cli.process.run_folder import RUN, RunFolder
from codexproxy.upstream.codex_cli.run_spec import CodexCliOptions, Job
from codexproxy.upstream.codex_cli.security.config_file import CliConfig, ConfigFile, Stamp
from codexproxy.upstream.codex_cli.security.landlock import landlocked
from codexproxy.upstream.codex_cli.security.local_only import (
    PROXIES,
    Redirects,
    local_pins,
    local_ports,
    require_local,
    require_silent_dotenv,
    walled_in,
    without_helpers,
)
from codexproxy.upstream.codex_cli.security.sandbox import DANGER, WORKSPACE_WRITE, Places, is_hidden

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


_ALWAYS: dict[str, Any] = {
    # Otherwise the owner's shell profile runs once more for every turn, and may outlive it.
    "features.shell_snapshot": False,
    # It cannot hide anything.
    "features.use_legacy_landlock": False,
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a configuration means for the runs under it.

    Attributes:
        pins: Configuration for the command line, which no file may override.
        restraints: More of it for callers who are not the owner.
        secrets: Names of environment variables that hold keys.
        hosts: The local hosts that may be called; None when all hosts may.
        stamp: Changes whenever the configuration does.
        ports: The TCP ports that may be called; None when all may.
    """

    pins: dict[str, Any]
    restraints: dict[str, Any]
    secrets: tuple[str, ...]
    hosts: tuple[str, ...] | None
    stamp: Stamp
    ports: tuple[int, ...] | None = None


class Launcher:
    """Starts processes of one CLI.

    Args:
        options: How the CLI is run.
        permits: How many of its processes may run on this host.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        options: CodexCliOptions,
        permits: Permits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = options
        self.clock = clock
        self.permits: Permits = permits or Unlimited()
        self._config = ConfigFile(options.home)
        self._redirects = Redirects(clock)

    def surroundings(self) -> Surroundings:
        """What the CLI's configuration says now.

        Raises:
            InvalidRequest: ``local_only``.
            UpstreamFailed: The configuration cannot be read.
        """
        stamp = self._config.stamp()
        config = self._config.read()
        hosts = self._local_hosts(config) if self.options.local_only else None
        environment = _walled(self.options.environment, hosts)
        pins = {**_ALWAYS, **of_commands(environment, config.secret_names, _excluded(config), self.options.home)}
        pins |= local_pins(config) if self.options.local_only else {}
        ports = local_ports(config) if self.options.local_only else None
        return Surroundings(pins, without_helpers(config), config.secret_names, hosts, stamp, ports)

    def _local_hosts(self, config: CliConfig) -> tuple[str, ...]:
        require_silent_dotenv(self._config.dotenv())
        return require_local(config, self._redirects.leads_elsewhere)

    def places(self, job: Job, folder: RunFolder, run: str) -> Places:
        """Where a job runs, and what its commands may touch.

        Args:
            job: What is run.
            folder: The folder of this turn.
            run: Identity of the process that runs it.

        Raises:
            InvalidRequest: Its folder holds logins, or is no longer where it was.
            OSError: The folder of its caller cannot be made.
            RateLimited: Another run writes above or below its folder.
        """
        hidden = self.options.hidden_places()
        if job.scope is not None:
            for path in (job.scope.parent, job.scope, job.scope / "files"):
                path.mkdir(mode=0o700, exist_ok=True)
        elif job.workdir is not None:
            _check_workdir(job, job.workdir, hidden, folder)
        return Places(run, folder.temporary, job.workdir or folder.work, hidden, job.scope)

    def folder(self, owned: ExitStack) -> RunFolder:
        """A fresh folder; removed when ``owned`` is closed.

        Raises:
            OSError: It cannot be made.
        """
        folder = RunFolder(self.options.scratch)
        owned.callback(folder.remove)
        return folder

    def start(
        self, argv: list[str], around: Surroundings, folder: RunFolder, cwd: Path, owned: ExitStack
    ) -> CliProcess:
        """Starts a process; it has ended, with all it started, when ``owned`` is closed.

        Raises:
            OSError: The CLI's home folder is missing and cannot be made.
            UpstreamFailed: It cannot be started.
        """
        # The CLI makes its default folder, but refuses to start when a missing one is named.
        make_private_folder(self.options.home)
        if around.ports is not None and self.found() is not None:
            argv = landlocked(argv, around.ports)
        process = CliProcess(
            argv, cwd=cwd, environment=self._environment(around, folder), run=folder.run, clock=self.clock
        )
        owned.callback(process.end, self.options.kill_grace)
        return process

    def found(self) -> str | None:
        """Where the CLI's executable is; None when it is missing."""
        bin, path = os.path.expanduser(self.options.bin), self.options.environment.get("PATH", os.defpath)
        return shutil.which(bin, path=path)

    def _environment(self, around: Surroundings, folder: RunFolder) -> dict[str, str]:
        environment = reduced(self.options.environment, around.secrets, self.options.home, folder.temporary, folder.run)
        return _walled(environment, around.hosts)

    def redactor(self, around: Surroundings) -> Redactor:
        """Takes the keys and passwords of the CLI's environment out of what it says."""
        environment = self.options.environment
        keys = [environment[name] for name in (*around.secrets, *LOGIN) if name in environment]
        return Redactor([*keys, *(userinfo_of(environment[name]) for name in PROXIES if name in environment)])


def _check_workdir(job: Job, workdir: Path, hidden: tuple[Path, ...], folder: RunFolder) -> None:
    if job.sandbox.mode != DANGER and is_hidden(workdir, hidden):
        raise InvalidRequest(
            "The server's CODEX_WORKDIR lies in a folder that holds logins or keys, which commands must not see. "
            "Its owner has to choose another one.",
            param="x_codex.workdir",
        )
    if job.sandbox.mode == WORKSPACE_WRITE and not folder.claim(workdir):
        raise RateLimited(
            "Another run is writing in a folder above or below this one. Please try again when it has ended.",
            code="workdir_busy",
            retry_after=5.0,
        )
    if os.path.realpath(workdir) != str(workdir):
        # It was decided before it was claimed.
        raise InvalidRequest("The folder of `x_codex.workdir` was moved meanwhile.", param="x_codex.workdir")


def _walled(environment: Mapping[str, str], hosts: tuple[str, ...] | None) -> dict[str, str]:
    return dict(environment) if hosts is None else walled_in(environment, hosts)


def _excluded(config: CliConfig) -> object:
    policy = config.top.get("shell_environment_policy")
    return policy.get("exclude") if isinstance(policy, dict) else None
