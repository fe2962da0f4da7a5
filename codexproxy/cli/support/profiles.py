"""Which login a command is about, and how its failures are told."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from codexproxy.cli.support.program_name import as_typed
from codexproxy.errors import ProxyError
from codexproxy.observability.log import configure_logging
from codexproxy.settings import Settings

if TYPE_CHECKING:
    from codexproxy.login.account import Login

profile_option = click.option(
    "--profile", default="default", show_default=True, metavar="NAME", help="The login of a provider with this profile."
)


def login_of(settings: Settings, profile: str) -> "Login":
    """The login of a profile.

    Raises:
        click.BadParameter: No profile can be called so.
    """
    from codexproxy.app.logins import is_profile_name, make_login

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
