"""The command ``codexproxy``: the list of its commands and what they share.

Each command lives in ``codexproxy/cli/NAME.py`` and is imported when it
is asked for, so that none pays for what another needs.

Exit codes: 0 success, 1 failure, 2 wrong usage or settings.
"""

from importlib import import_module

import click

from codexproxy import __version__

# Name of the command -> module below codexproxy.cli; the function has the command's name.
COMMANDS = {
    "serve": "serve",
    "demo": "demo",
    "login": "login",
    "logout": "logout",
    "status": "status",
    "models": "models",
    "usage": "usage",
    "doctor": "doctor",
    "keys": "keys",
    "prompts": "prompts",
    "quota": "quota",
    "explain": "explain",
}


class Commands(click.Group):
    """A group whose commands are imported one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command, None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"codexproxy.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="codexproxy")
def main() -> None:
    """Any OpenAI client, your own ChatGPT/Codex subscription."""
