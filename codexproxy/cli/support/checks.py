"""The checks of ``doctor`` that cost nothing (files, ports, clocks, the way to the upstream), and their findings."""

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from codexproxy.cli.support.command import is_taken
from codexproxy.cli.support.local_server import LocalServer, ServerRefused
from codexproxy.data_dir import DataDir
from codexproxy.settings import Settings, dangers, refuse_shared_folder
from codexproxy.storage.files.prompts import PromptStore

if TYPE_CHECKING:
    import requests

OK, WARN, FAIL, SKIPPED = "ok", "warn", "fail", "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        name: What was checked.
        state: ``ok``, ``warn``, ``fail`` or ``skipped``.
        text: What was found.
        advice: What to do; empty where there is nothing to do.
    """

    name: str
    state: str
    text: str
    advice: str = ""


Check = Callable[[], Finding]


def outcome(name: str, check: Check) -> Finding:
    """A check's finding; a check that breaks is one, too."""
    try:
        return check()
    except Exception as error:  # a doctor that dies of a symptom helps nobody
        return Finding(name, FAIL, f"the check itself failed: {type(error).__name__}: {error}", "Please report this.")


def worst(findings: Iterable[Finding]) -> int:
    """The exit code: 1 when anything failed."""
    return int(any(finding.state == FAIL for finding in findings))


# A token is renewed five minutes before its end, so a clock may be wrong by less.
SKEW_WARN, SKEW_FAIL = 30.0, 240.0

_TIMEOUT = (10.0, 15.0)
_SECONDS = 20.0


def settings_found(settings: Settings) -> Finding:
    """Which settings are in force."""
    place = settings.config_path if settings.config_path.exists() else "defaults and the environment"
    return Finding("settings", OK, f"{place}; data in {settings.data_dir}")


def access(settings: Settings) -> list[Finding]:
    """Whether these settings let others than the owner in."""
    found = dangers(settings)
    if not found:
        return [Finding("access", OK, "for you, and for holders of your keys")]
    return [Finding("access", WARN, *danger.split(". ", 1)) for danger in found]


def login_found(settings: Settings) -> Finding:
    """Whether there is a login, and whether it can be used."""
    from codexproxy.cli.support.command import login_of

    account = login_of(settings, "default")
    found = account.status()
    if found.ready:
        state = WARN if found.warning or found.state == "dead" else OK
        return Finding("login", state, f"{found.email or 'signed in'} ({found.plan or 'plan unknown'})", found.warning)
    text = "nobody is signed in" if found.state == "not_logged_in" else "the login cannot be renewed any more"
    return Finding("login", FAIL, text, f"Run `{account.command}`.")


def token_file(data_dir: Path) -> Finding:
    """Whether the login's file is for its owner alone."""
    path = DataDir(data_dir).profile().tokens
    if shared := refuse_shared_folder(data_dir):
        return Finding("token file", FAIL, f"{shared[0].upper()}{shared[1:]}", "The service does not start until then.")
    if not path.exists():
        return Finding("token file", SKIPPED, f"{path} does not exist")
    for place, wanted in ((path, 0o600), (data_dir, 0o700)):
        mode = stat.S_IMODE(os.stat(place).st_mode)
        if mode & ~wanted:
            return Finding(
                "token file", WARN, f"{place} has mode {mode:04o}", f"Run `chmod {wanted:o} '{place}'`: it is a secret."
            )
    if not os.access(path, os.W_OK) or not os.access(data_dir, os.W_OK):
        return Finding(
            "token file", FAIL, f"{path} cannot be written", "Renewed logins get lost: make the folder writable."
        )
    return Finding("token file", OK, f"{path}, for its owner alone")


def callback_port(port: int) -> Finding:
    """Whether a browser login can come back."""
    if port and is_taken(port):
        return Finding(
            "callback port", WARN, f"port {port} is in use", "End that program, or use `codexproxy login --device`."
        )
    return Finding("callback port", OK, f"port {port} is free")


def codex_cli(settings: Settings) -> Finding:
    """Whether the local Codex CLI is there, for those who use it."""
    needed = any(row.capabilities.runs_cli_models for row in settings.providers)
    found = shutil.which(settings.cli_bin)
    if found is None:
        state = FAIL if needed else SKIPPED
        advice = "Install it (`npm install -g @openai/codex`), or set CODEX_BIN." if needed else ""
        return Finding("codex CLI", state, f"`{settings.cli_bin}` is not installed", advice)
    done = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=20, check=False)
    return Finding("codex CLI", OK if done.returncode == 0 else WARN, done.stdout.strip()[:80] or "gives no version")


def official_texts(data_dir: Path) -> Finding:
    """Whether official instructions were synchronised, and still are what they were."""
    store = PromptStore(DataDir(data_dir).prompts)
    entries, damaged = store.entries(), store.verify()
    if not entries:
        text = "none were synchronised, so our own short texts stand in for them"
        return Finding("instructions", WARN, text, "Run `codexproxy prompts sync`; a login does it by itself.")
    if damaged:
        return Finding("instructions", WARN, f"{', '.join(damaged)} changed", "Run `codexproxy prompts sync`.")
    newest = max(entries, key=lambda entry: entry.fetched_at)
    day = time.strftime("%Y-%m-%d", time.localtime(newest.fetched_at))
    models = len({entry.model for entry in entries})
    return Finding("instructions", OK, f"official texts of {models} models, the newest from the {newest.source}, {day}")


def upstream(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """Whether upstream answers as an API, and what its clock says."""
    import requests

    from codexproxy.outbound import ending_within
    from codexproxy.upstream.chatgpt.transport import Transport

    url = f"{settings.backend_url}/codex/models?client_version={settings.client_version}"
    headers = {"user-agent": "codexproxy-doctor", "accept": "application/json", "accept-encoding": "identity"}
    try:
        with (
            ending_within(_SECONDS),
            Transport(settings.backend_url, environ).send("GET", url, headers, b"", _TIMEOUT) as answer,
        ):
            return [_reached(settings, answer), clock(answer.headers.get("date"), time.time())]
    except requests.RequestException as error:
        advice = "Check the network, DNS, HTTPS_PROXY and CODEX_BACKEND_URL."
        return [Finding("upstream", FAIL, f"{settings.backend_url} cannot be reached: {type(error).__name__}", advice)]


def _reached(settings: Settings, answer: "requests.Response") -> Finding:
    from codexproxy.upstream.chatgpt.error_mapping import is_challenge

    headers = {name.lower(): value for name, value in answer.headers.items()}
    if is_challenge(headers, answer.raw.read(2048)):
        return Finding(
            "upstream",
            FAIL,
            f"{settings.backend_url} answers with a challenge page (status {answer.status_code})",
            "Its edge distrusts this network, not your login: try another network, or an egress proxy (HTTPS_PROXY).",
        )
    # Without a login 401 is the right answer.
    return Finding("upstream", OK, f"{settings.backend_url} answers (status {answer.status_code})")


def clock(date: str | None, now: float) -> Finding:
    """How far this machine's clock is from upstream's.

    Args:
        date: Upstream's ``Date`` header.
        now: Epoch seconds.
    """
    try:
        skew = now - parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return Finding("clock", SKIPPED, "upstream did not say what time it is")
    text = f"{abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}" if abs(skew) >= SKEW_WARN else "right"
    state = FAIL if abs(skew) >= SKEW_FAIL else WARN if abs(skew) >= SKEW_WARN else OK
    return Finding("clock", state, text, "" if state == OK else "Set the clock (`timedatectl set-ntp true`).")


def server(settings: Settings) -> list[Finding]:
    """Whether the server of these settings runs, can serve, and has a catalogue."""
    local = LocalServer.of(settings)
    try:
        health = local.get_json("/health")
        if health is None:
            return [Finding("server", SKIPPED, f"nothing listens at {local.base_url}", "Run `codexproxy serve`.")]
        models = [str(row.get("id")) for row in (local.get_json("/v1/models") or {}).get("data", [])]
    except ServerRefused as refusal:
        return [Finding("server", FAIL, str(refusal), "Is it started with the same settings and key?")]
    return [
        Finding("server", OK, f"{local.base_url}, version {health.get('version')}"),
        _ready(local),
        catalogue(models),
    ]


def _ready(local: LocalServer) -> Finding:
    try:
        local.get_json("/ready")
    except ServerRefused as refusal:
        return Finding("ready", FAIL, str(refusal), "`curl …/ready` lists the reasons; most often it is the login.")
    return Finding("ready", OK, "turns can be served")


def catalogue(models: list[str]) -> Finding:
    """Whether there is something to ask for."""
    if not models:
        return Finding("catalogue", FAIL, "no models are listed", "Check the login's plan, and the log of the server.")
    return Finding("catalogue", OK, f"{len(models)} names, {models[0]} first")
