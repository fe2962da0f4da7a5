"""``codexproxy doctor``: looks at everything that can be wrong, and says what to do."""

import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from codexproxy import __version__
from codexproxy.cli.support import checks
from codexproxy.cli.support import deep_checks as deep
from codexproxy.cli.support.checks import FAIL, SKIPPED, Finding, outcome, worst
from codexproxy.cli.support.command import as_typed, settings_or_exit
from codexproxy.cli.support.local_server import LocalServer, ServerRefused
from codexproxy.observability.redaction import Redactor
from codexproxy.settings import Settings

_MARKS = {"ok": "ok   ", "warn": "WARN ", "fail": "FAIL ", "skipped": "-    "}
_FALLBACK_MODEL = "gpt-5.2-codex"
# Last lines of each log file that go into a bundle.
_LOG_LINES = 200


@click.command()
@click.option("--deep", "thorough", is_flag=True, help="Ask real questions, too; they cost a few tokens.")
@click.option("--url", help="The public address of the server, to see whether what is before it holds streams back.")
@click.option("--origin", default="https://app.example", show_default=True, help="A web page, for the CORS check.")
@click.option("--model", help="Model to use (default: the first listed one).")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--bundle", type=click.Path(dir_okay=False, path_type=Path), help="Write a redacted support file.")
def doctor(thorough: bool, url: str | None, origin: str, model: str | None, as_json: bool, bundle: Path | None) -> None:
    """Check settings, login, ports, clock and upstream; exit code 1 when something is broken."""
    settings = settings_or_exit()
    findings: list[Finding] = []
    for finding in _all(settings, thorough, url, origin, model):
        findings.append(finding)
        if not as_json:
            click.echo(as_typed(_line(finding)))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    if bundle is not None:
        bundle.write_text(make_bundle(settings, findings))
        click.echo(f"Wrote {bundle}. Please read it before you send it to anybody.", err=True)
    sys.exit(worst(findings))


def _all(settings: Settings, thorough: bool, url: str | None, origin: str, model: str | None) -> Iterator[Finding]:
    yield checks.settings_found(settings)
    yield from _several("access", lambda: checks.access(settings))
    yield outcome("token file", lambda: checks.token_file(settings.data_dir))
    yield outcome("login", lambda: checks.login_found(settings))
    yield outcome("callback port", lambda: checks.callback_port(settings.callback_port))
    yield outcome("codex CLI", lambda: checks.codex_cli(settings))
    yield outcome("instructions", lambda: checks.official_texts(settings.data_dir))
    yield from _several("upstream", lambda: checks.upstream(settings, os.environ))
    yield from _several("server", lambda: checks.server(settings))
    if thorough:
        yield from _deep(settings, url, origin, model)


def _deep(settings: Settings, url: str | None, origin: str, model: str | None) -> Iterator[Finding]:
    local = LocalServer.of(settings)
    try:
        models = (local.get_json("/v1/models") or {}).get("data") or []
    except ServerRefused as refusal:
        yield Finding("deep checks", FAIL, str(refusal), "Is it started with the same settings and key?")
        return
    chosen = model or next((str(row.get("id")) for row in models), _FALLBACK_MODEL)
    target = deep.Target(local.base_url, chosen, settings.api_key)
    if not models and url is None:
        yield Finding("deep checks", SKIPPED, f"nothing listens at {local.base_url}", "Run `codexproxy serve`.")
        return
    if models:
        yield outcome("chat", lambda: deep.small_chat(target))
        yield outcome("tool call", lambda: deep.tool_call(target))
        yield outcome("JSON answer", lambda: deep.json_answer(target))
        yield outcome("stream", lambda: deep.cadence(target, "stream"))
    public = deep.Target((url or local.base_url).rstrip("/").removesuffix("/v1"), chosen, settings.api_key)
    if url is not None:
        yield outcome("public stream", lambda: deep.cadence(public, "public stream"))
    yield outcome("CORS", lambda: deep.cors(public, origin))


def _several(name: str, check: Any) -> list[Finding]:
    found: list[Finding] = []

    def run() -> Finding:
        found.extend(check())
        return found[-1]

    last = outcome(name, run)
    return found or [last]


def _line(finding: Finding) -> str:
    advice = f"\n      {finding.advice}" if finding.advice else ""
    return f"{_MARKS[finding.state]} {finding.name}: {finding.text}{advice}"


def make_bundle(settings: Settings, findings: list[Finding]) -> str:
    """A support file: versions, settings, findings and the end of the log, without secrets."""
    secrets = [text for text in (settings.api_key, settings.tokens_json) if text]
    logs = sorted(settings.log_dir.glob("*.log"))[-8:] if settings.log_dir and settings.log_dir.is_dir() else []
    content = {
        "codexproxy": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        # Secret values have no place in their repr.
        "settings": repr(settings),
        "findings": [asdict(finding) for finding in findings],
        "logs": {path.name: path.read_text(errors="replace").splitlines()[-_LOG_LINES:] for path in logs},
    }
    return Redactor(secrets)(json.dumps(content, indent=2)) + "\n"
