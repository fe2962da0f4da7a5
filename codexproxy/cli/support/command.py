"""What every command shares: how the user calls this program, its settings, the chosen login, ports, error output."""

import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from codexproxy.errors import ProxyError
from codexproxy.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from codexproxy.login.account import Login

NAME = "codexproxy"
_UNSAFE = re.compile(r"[^\w@%+=:,./-]")
_MENTION = re.compile(rf"`{NAME} (?=\w)")


def program(prefix: str = sys.prefix, path: str | None = None, folder: Path | None = None) -> str:
    """The shortest way to call it that works here.

    Args:
        prefix: The environment it is installed in.
        path: Where the shell looks for programs; the environment's when omitted.
        folder: Where the person stands.
    """
    script = Path(prefix) / "bin" / NAME
    found = shutil.which(NAME, path=path)
    if found is not None and (not script.exists() or Path(found).samefile(script)):
        return NAME
    if not script.exists():
        return f"{_escaped(sys.executable)} -m {NAME}"
    here = folder or Path.cwd()
    # A checkout keeps its environment in .venv.
    return _escaped(str(script.relative_to(here) if script.is_relative_to(here) else script))


def _escaped(path: str) -> str:
    # Not in quotation marks, which would part the program's name from its command.
    return _UNSAFE.sub(r"\\\g<0>", path)


def as_typed(text: str) -> str:
    """A text of ours, with the commands it mentions as they can be typed here."""
    spelled = program()
    return text if spelled == NAME else _MENTION.sub(lambda mention: f"`{spelled} ", text)


DOTENV = Path(".env")


def settings_or_exit(dotenv: Path | None = None) -> Settings:
    """The settings from this process's environment.

    Args:
        dotenv: A ``.env`` file to read below the environment; for ``serve`` only, since
            any other command may be called in a folder that somebody else wrote.
    """
    try:
        return load_settings(os.environ, dotenv=dotenv)
    except SettingsError as error:
        click.echo(str(error), err=True)
        sys.exit(2)


profile_option = click.option(
    "--profile", default="default", show_default=True, metavar="NAME", help="The login of a provider with this profile."
)


def login_of(settings: Settings, profile: str) -> "Login":
    """The login of a profile.

    Raises:
        click.BadParameter: No profile can be called so.
    """
    from codexproxy.app.logins import is_profile_name, make_login
    from codexproxy.observability.log import configure_logging

    if not is_profile_name(profile):
        raise click.BadParameter("use letters, digits, dots, dashes and underscores.", param_hint="--profile")
    # Whatever is logged on the way passes the redaction.
    configure_logging("warn", "text")
    return make_login(settings, profile)


@contextmanager
def told() -> Iterator[None]:
    """What goes wrong within, as one sentence and exit code 1."""
    try:
        yield
    except ProxyError as failure:
        click.echo(as_typed(failure.message), err=True)
        sys.exit(1)


LOOPBACK = "127.0.0.1"


def is_taken(port: int, host: str = LOOPBACK) -> bool:
    """Whether this port cannot be listened on: somebody else does, or only root may."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do it: connections that are fading away do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port
