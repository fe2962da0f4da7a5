"""Asks the Codex CLI for its models, its quota and whether it works.

Models come in the form of upstream's ModelInfo (docs/reference/models.md).
"""

import os
import re
import secrets
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from codexproxy.errors import ProxyError, UpstreamFailed, UpstreamTimeout
from codexproxy.observability.redaction import Redactor
from codexproxy.protocol.events import decode_object
from codexproxy.protocol.numbers import MOST, whole
from codexproxy.upstream.base import Permits
from codexproxy.upstream.codex_cli.decode.error_mapping import UPDATE_HINT, failure_of_exit, is_ancient
from codexproxy.upstream.codex_cli.process.app_transport import PROMPTLY, AppTransport
from codexproxy.upstream.codex_cli.process.exec_transport import overrides
from codexproxy.upstream.codex_cli.process.launch import Launcher, Surroundings
from codexproxy.upstream.codex_cli.process.pool import Unlimited
from codexproxy.upstream.codex_cli.process.process import CliProcess
from codexproxy.upstream.codex_cli.process.run_folder import RunFolder
from codexproxy.upstream.codex_cli.security.sandbox import Places, Sandbox, confined

Json = dict[str, Any]
Models = list[Json]

_SLUG = re.compile(r"[A-Za-z][\w.:/-]*", re.ASCII)


def from_catalogue(output: bytes) -> Models:
    """``codex debug models``: the catalogue itself, ``{"models": [ModelInfo]}``."""
    return _sound(_first_object(output).get("models"))


def from_listing(output: bytes) -> Models:
    """``codex models list`` of older versions: JSON, or a table whose first column holds the names."""
    found = _first_object(output)
    rows = found.get("models") or found.get("data")
    if rows:
        return _sound(rows)
    words = [line.split()[0].strip("*-│|") for line in output.decode("utf-8", "replace").splitlines() if line.split()]
    return [{"slug": word} for word in words if _SLUG.fullmatch(word) and any(map(str.isdigit, word))]


def from_app_server(result: Json) -> Models:
    """``model/list`` of the app-server."""
    rows = result.get("data")
    rows = rows if isinstance(rows, list) else []
    return [_translated(row) for row in rows if isinstance(row, dict) and row.get("model")]


def _translated(row: Json) -> Json:
    efforts = row.get("supportedReasoningEfforts") or []
    info = {
        "slug": row["model"],
        "display_name": row.get("displayName"),
        "description": row.get("description"),
        "visibility": "hide" if row.get("hidden") else "list",
        "default_reasoning_level": row.get("defaultReasoningEffort"),
        "supported_reasoning_levels": [
            {"effort": effort.get("reasoningEffort"), "description": effort.get("description")}
            for effort in efforts
            if isinstance(effort, dict)
        ],
        "service_tiers": row.get("serviceTiers"),
        "input_modalities": row.get("inputModalities"),
    }
    return {key: value for key, value in info.items() if value is not None}


def _first_object(output: bytes) -> Json:
    # Warnings may stand before it.
    start = output.find(b"{")
    try:
        return decode_object(output[start:]) if start >= 0 else {}
    except UpstreamFailed:
        return {}


def _sound(rows: Any) -> Models:
    rows = rows if isinstance(rows, list) else []
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("slug"), str) and row["slug"]]


# The ways to ask the command line, newest first (docs/reference/codex-cli.md#asking-for-its-models).
COMMANDS: tuple[tuple[list[str], Callable[[bytes], Models]], ...] = (
    (["debug", "models"], from_catalogue),
    (["models", "list"], from_listing),
)


def quota_of(result: Json) -> Json:
    """``account/rateLimits/read`` in the form of upstream's usage (docs/reference/quota.md#the-usage-report)."""
    limits = result.get("rateLimits")
    limits = limits if isinstance(limits, dict) else {}
    windows = {f"{name}_window": _window(limits.get(name)) for name in ("primary", "secondary")}
    reached = limits.get("rateLimitReachedType")
    return {
        "plan_type": limits.get("planType"),
        "rate_limit": {"allowed": reached is None, "limit_reached": reached is not None, **windows},
        "rate_limit_reached_type": reached,
    }


def _window(window: Any) -> Json | None:
    if not isinstance(window, dict):
        return None
    minutes = window.get("windowDurationMins")
    return {
        "used_percent": window.get("usedPercent"),
        "limit_window_seconds": whole(minutes, MOST // 60) * 60 or None,
        "reset_at": window.get("resetsAt"),
    }


# The oldest version that knows every option we use.
OLDEST = (0, 100, 0)

# How long, in seconds, an answer counts that may have come of the moment: a full disk, a busy machine.
PASSING = 60.0

INSTALL_HINT = "Install it with `npm install -g @openai/codex`, or set CODEX_BIN to its path."

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


class Inquiries:
    """Asks the CLI.

    Args:
        launcher: Starts its processes.
        app: Starts its app-servers.
    """

    def __init__(self, launcher: Launcher, app: AppTransport) -> None:
        self._launcher = launcher
        self._app = app
        self._checked: tuple[object, str | None, float] | None = None
        self._confinement: tuple[object, ProxyError | None, float] | None = None
        self._trying = threading.Lock()

    def models(self) -> Models:
        """The CLI's models: the first way of asking that gives any.

        Raises:
            ProxyError: Every way failed, or one was not answered; this is what the first one failed of.
        """
        failure: ProxyError | None = None
        for arguments, read in COMMANDS:
            try:
                models = read(self._output(arguments))
            except UpstreamFailed as error:
                failure = failure or error
                continue
            if models:
                return models
        try:
            return from_app_server(self._asked("model/list"))
        except (UpstreamFailed, UpstreamTimeout) as error:
            raise (failure or error) from error

    def usage(self) -> dict[str, Any]:
        """The account's quota windows.

        Raises:
            ProxyError: There is no login, or the CLI failed.
        """
        return quota_of(self._asked("account/rateLimits/read"))

    def problem(self) -> str | None:
        """What keeps the CLI from working; looked up again when its file has changed, or when it may have passed."""
        found = self._launcher.found()
        if found is None:
            return f"The Codex CLI `{self._launcher.options.bin}` was not found. {INSTALL_HINT}"
        key, now = _identity(found), self._launcher.clock()
        if self._checked is None or self._checked[0] != key or now >= self._checked[2]:
            # Noted before it is asked, so that those who ask meanwhile do not ask it, too.
            before = self._checked[1] if self._checked is not None and self._checked[0] == key else None
            self._checked = (key, before, now + PASSING)
            try:
                problem = self._problem_of_version()
                if problem is None:
                    self.require_confinement()
                self._checked = (key, problem, float("inf"))
            except ProxyError as error:
                self._checked = (key, error.message, self._launcher.clock() + PASSING)
        return self._checked[1]

    def _problem_of_version(self) -> str | None:
        # Without a permit: whether the CLI works must be known also while all places are taken.
        said = self._output(["--version"], Unlimited()).decode("utf-8", "replace")
        version = _VERSION.search(said)
        if version is None:
            return f"`{self._launcher.options.bin}` does not look like the Codex CLI. {INSTALL_HINT}"
        if tuple(map(int, version.groups())) < OLDEST:
            return f"The installed Codex CLI {version[0]} is too old. {UPDATE_HINT}"
        return None

    def require_confinement(self) -> None:
        """Makes sure that this CLI hides from commands what they must not see, by trying it.

        Tried once per version of the CLI; after a failure, again in a while.

        Raises:
            ProxyError: It does not, or it cannot be tried.
        """
        with self._trying:
            key, now = _identity(self._launcher.found() or ""), self._launcher.clock()
            known = self._confinement
            if known is None or known[0] != key or now >= known[2]:
                known = self._confinement = (key, *self._tried())
        if known[1] is not None:
            raise known[1]

    def _tried(self) -> tuple[ProxyError | None, float]:
        try:
            self._try_confinement()
        except ProxyError as error:
            return error, self._launcher.clock() + PASSING
        return None, float("inf")

    def _try_confinement(self) -> None:
        launcher, around = self._launcher, self._launcher.surroundings()
        secret, sign = secrets.token_hex(16), secrets.token_hex(16)
        with ExitStack() as owned:
            folder = launcher.folder(owned)
            hidden = folder.write("secret", secret.encode())
            places = Places(folder.run, folder.temporary, folder.work, launcher.options.hidden_places())
            settings = {**around.pins, **confined(Sandbox(), places)}
            command = ["/bin/sh", "-c", 'cat "$1"; echo "$2"', "sh", str(hidden), sign]
            profile = str(settings["default_permissions"])
            argv = [launcher.options.bin, "sandbox", *overrides(settings), f"--permission-profile={profile}"]
            said, process = self._said([*argv, f"--cd={folder.work}", "--", *command], around, folder, owned)
            if secret.encode() in said:
                raise UpstreamFailed(_OPEN, code="codex_cli_failed", retryable=False)
            if sign.encode() not in said:
                raise _unconfined(process.stderr(), launcher.redactor(around))

    def _asked(self, method: str) -> dict[str, Any]:
        warm = self._app.lease(self._launcher.surroundings())
        try:
            return warm.server.call(method, {}, self._launcher.options.patience)
        finally:
            warm.end()

    def _output(self, arguments: list[str], permits: Permits | None = None) -> bytes:
        """All that a command writes to its standard output.

        Raises:
            UpstreamFailed: It failed.
            UpstreamTimeout: It took too long.
        """
        launcher, around = self._launcher, self._launcher.surroundings()
        with ExitStack() as owned:
            owned.callback((permits or launcher.permits).acquire().release)
            said, process = self._said([launcher.options.bin, *arguments], around, launcher.folder(owned), owned)
            status = process.wait(PROMPTLY)
            if status != 0:
                raise failure_of_exit(status, process.stderr(), launcher.redactor(around))
            return said

    def _said(
        self, argv: list[str], around: Surroundings, folder: RunFolder, owned: ExitStack
    ) -> tuple[bytes, CliProcess]:
        """All that a command writes to its standard output, and its process, which has ended or will soon.

        Raises:
            UpstreamTimeout: It took too long.
        """
        launcher = self._launcher
        process = launcher.start(argv, around, folder, folder.work, owned)
        process.end_input()
        lines, until = [], launcher.clock() + launcher.options.patience
        while (more := process.read(max(0.0, until - launcher.clock()))) is not None:
            lines += more
            if launcher.clock() >= until:
                raise UpstreamTimeout(f"The Codex CLI did not answer `codex {argv[1]}` in time.")
        return b"\n".join(lines), process


_OPEN = (
    f"The sandbox of the installed Codex CLI lets commands read what it should hide, so no turn is run. {UPDATE_HINT}"
)


def _unconfined(stderr: str, redact: Redactor) -> UpstreamFailed:
    said = " ".join(redact(stderr).split())[-1000:]
    advice = (
        UPDATE_HINT
        if is_ancient(stderr)
        else ("On Linux it needs user namespaces (bubblewrap); `codex sandbox -- true` shows what is missing.")
    )
    return UpstreamFailed(
        "The Codex CLI cannot hide the login from the commands a model runs on this machine, so no turn is run. "
        f"{advice}{f' It said: {said}' if said else ''}",
        code="codex_cli_failed",
        retryable=False,
    )


def _identity(path: str) -> object:
    try:
        status = os.stat(path)
    except OSError:  # it is being replaced at this moment
        return path
    return path, status.st_mtime_ns, status.st_size
