"""Settings for a command: mistakes are told and end it with exit code 2."""

import os
import sys
from pathlib import Path

import click

from codexproxy.settings import Settings, SettingsError, load_settings

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
