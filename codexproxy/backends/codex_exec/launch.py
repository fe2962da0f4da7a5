"""Starting the CLI: its configuration looked at, its environment made, its processes counted."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codexproxy.backends.codex_exec.config_file import CliConfig, ConfigFile, Stamp
from codexproxy.backends.codex_exec.environment import hidden_from_commands, reduced
from codexproxy.backends.codex_exec.local_only import local_pins, require_local, walled_in
from codexproxy.backends.codex_exec.options import CodexCliOptions
from codexproxy.backends.codex_exec.permits import Permits, Unlimited
from codexproxy.backends.codex_exec.process import CliProcess
from codexproxy.backends.codex_exec.redirects import Redirects
from codexproxy.backends.codex_exec.run_folder import RunFolder
from codexproxy.observe.redaction import Redactor

# Otherwise the owner's shell profile runs once more for every turn, and may outlive it.
_ALWAYS: dict[str, Any] = {"features.shell_snapshot": False}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a configuration means for the runs under it.

    Attributes:
        pins: Configuration for the command line, which no file may override.
        secrets: Names of environment variables that hold keys.
        hosts: The local hosts that may be called; None when all hosts may.
        stamp: Changes whenever the configuration does.
    """

    pins: dict[str, Any]
    secrets: tuple[str, ...]
    hosts: tuple[str, ...] | None
    stamp: Stamp


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
        hosts = require_local(config, self._redirects.leads_elsewhere) if self.options.local_only else None
        pins = {**_ALWAYS, **hidden_from_commands(config.secret_names, _excluded(config))}
        pins.update(local_pins(config) if self.options.local_only else {})
        return Surroundings(pins, config.secret_names, hosts, stamp)

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
        self.options.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        process = CliProcess(
            argv, cwd=cwd, environment=self._environment(around, folder), run=folder.run, clock=self.clock
        )
        owned.callback(process.end, self.options.kill_grace)
        return process

    def _environment(self, around: Surroundings, folder: RunFolder) -> dict[str, str]:
        environment = reduced(self.options.environment, around.secrets, self.options.home, folder.temporary, folder.run)
        return environment if around.hosts is None else walled_in(environment, around.hosts)

    def redactor(self, around: Surroundings) -> Redactor:
        """Takes the keys of the CLI's environment out of what it says."""
        environment = self.options.environment
        return Redactor(environment[name] for name in around.secrets if name in environment)


def _excluded(config: CliConfig) -> object:
    policy = config.top.get("shell_environment_policy")
    return policy.get("exclude") if isinstance(policy, dict) else None
