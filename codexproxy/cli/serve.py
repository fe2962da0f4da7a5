"""``codexproxy serve``: the server in the foreground."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from codexproxy.cli.support.command import DOTENV, as_typed, is_taken, settings_or_exit
from codexproxy.cli.support.subprocesses import before_exec
from codexproxy.settings import Settings, SettingsError, load_settings, refuse_public_bind, refuse_shared_folder
from codexproxy.settings.loading import NOT_FROM_DOTENV
from codexproxy.settings.problems import Problem
from codexproxy.settings.sources import read_dotenv

# What the libraries that call upstream would read from the environment.
PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"})


@click.command()
@click.option("--host", help="Address to listen on instead of the configured one.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on instead of the configured one.")
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes.")
def serve(host: str | None, port: int | None, workers: int | None) -> None:
    """Serve the API with your own ChatGPT login.

    Reads .env in this folder, but for addresses, folders and programs; the environment overrides it, and these
    options override both.
    """
    options: dict[str, Any] = {"host": host, "port": port, "workers": workers}
    given = {name: value for name, value in options.items() if value is not None}
    settings = replace(settings_or_exit(dotenv=DOTENV), **given)
    keys = _DotenvKeys()
    keys.export(DOTENV, settings)
    _tell_ignored(DOTENV)
    _refuse_public(settings)
    _refuse_shared(settings)
    _refuse_taken(settings)
    if hint := login_hint(settings):
        click.echo(as_typed(hint), err=True)
        offer_login()

    listening = {(settings.host, settings.port)}

    def reread() -> Settings:
        fresh = replace(load_settings(os.environ, dotenv=DOTENV), **given)
        if (fresh.host, fresh.port) not in listening and is_taken(fresh.port, fresh.host):
            raise SettingsError((Problem("PORT", f"{fresh.port} of {fresh.host} cannot be used; choose another."),))
        keys.export(DOTENV, fresh)
        listening.clear()
        listening.add((fresh.host, fresh.port))
        return fresh

    run_server(settings, reread)


def run_server(settings: Settings, reread: Callable[[], Settings] | None = None) -> None:
    """Runs gunicorn in this process; returns when it has stopped.

    Args:
        settings: What to begin with.
        reread: Reads the settings anew at a SIGHUP; None to keep what is there.
    """
    # Imported here: it brings gunicorn and gevent, which help texts do not need.
    from codexproxy.gunicorn.config import run

    run(settings, reread)


def login_hint(settings: Settings) -> str | None:
    """What to do about a missing login; None when one is there or none is needed."""
    needs_login = any(provider.enabled and provider.uses_login for provider in settings.providers)
    if not needs_login or settings.tokens_json or _has_login(settings):
        return None
    return (
        "You are not signed in to ChatGPT yet; `codexproxy login` does that, also from another terminal. "
        "Until then questions are answered with 401 not_logged_in."
    )


def offer_login() -> None:
    """Offers the login at this terminal, in a process of its own, so that serving begins meanwhile."""
    if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
        argv = [sys.executable, "-m", "codexproxy", "login", "--offer"]
        subprocess.Popen(argv, preexec_fn=before_exec(os.getpid()))


def _has_login(settings: Settings) -> bool:
    from codexproxy.login.tokens.external_store import LinkedTokenStore

    return LinkedTokenStore.in_folder(settings.data_dir).version() is not None


class _DotenvKeys:
    """Hands the providers' keys in ``.env`` on, since providers read the environment themselves."""

    def __init__(self) -> None:
        self._exported: set[str] = set()

    def export(self, dotenv: Path, settings: Settings) -> None:
        """Puts them into the environment; what the environment had of its own stays."""
        lines, _ = read_dotenv(dotenv)
        for name in self._exported:
            os.environ.pop(name, None)
        wanted = {str(provider.api_key_env) for provider in settings.providers} & lines.keys()
        self._exported = {name for name in wanted if name not in os.environ}
        os.environ.update({name: lines[name] for name in self._exported})


def _tell_ignored(dotenv: Path) -> None:
    lines, _ = read_dotenv(dotenv)
    if ignored := sorted((NOT_FROM_DOTENV | PROXIES) & lines.keys()):
        click.echo(
            f"Not taken from .env: {', '.join(ignored)}. A file in the working directory decides over no address, "
            "folder, program or permission; set these in the environment or in the config file.",
            err=True,
        )


def _refuse_public(settings: Settings) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    if refusal := refuse_public_bind(settings, [f"{host}:{settings.port}"]):
        click.echo(as_typed(refusal), err=True)
        sys.exit(2)


def _refuse_shared(settings: Settings) -> None:
    if refusal := refuse_shared_folder(settings.data_dir):
        click.echo(f"DATA_DIR: {refusal}", err=True)
        sys.exit(2)


def _refuse_taken(settings: Settings) -> None:
    if is_taken(settings.port, settings.host):
        click.echo(
            f"Port {settings.port} of {settings.host} cannot be used: another program listens there, or it is "
            "reserved. Stop that program, or choose another port: PORT=3001.",
            err=True,
        )
        sys.exit(1)
