"""Using the login that the Codex CLI keeps, or ChatMock: the file is named, never copied."""

import sys
from pathlib import Path

import click

from codexproxy.errors import InvalidRequest
from codexproxy.login.account import Login
from codexproxy.login.tokens.external_store import READ_ONLY, SHARE, Link
from codexproxy.login.tokens.tokens import Tokens

FILE = "auth.json"
CHATMOCK = Path("~/.chatgpt-local")

_EXPLANATION = """\
{path} holds a login that can be used in two ways. Copying it is not one of them: its refresh token
works only once, so whichever program used it second would be signed out.

  share      Read and write that same file. Whoever renews the login first, the other takes it over.
  read-only  Only read it. codexproxy never renews the login and works for as long as the other program does.

The third way is a login of codexproxy's own: `{command}`. It disturbs nobody.
"""


def find_file(home: Path, given: Path | None) -> Path:
    """The file to use.

    Args:
        home: The Codex CLI's folder.
        given: A file or a folder the user named; None to look in the usual places.

    Raises:
        InvalidRequest: There is none.
    """
    folders = [given.expanduser()] if given else [home, CHATMOCK.expanduser()]
    candidates = [folder / FILE if folder.is_dir() or not given else folder for folder in folders]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        places = " or ".join(str(path) for path in candidates)
        raise InvalidRequest(f"There is no login at {places}. Sign in with that program first, or name its {FILE}.")
    return found.absolute()


def link(account: Login, path: Path, mode: str | None) -> Tokens:
    """Uses the login in a file from now on.

    Args:
        account: Which login of ours it becomes.
        path: The file.
        mode: ``share`` or ``read-only``; None to explain and ask.

    Raises:
        ProxyError: There is no login in it, or the link could not be kept.
    """
    return account.store.link(Link(path, mode or _ask(account, path)))


def _ask(account: Login, path: Path) -> str:
    click.echo(_EXPLANATION.format(path=path, command=account.command), err=True)
    if not sys.stdin.isatty():
        raise click.UsageError("Choose --share or --read-only.")
    choice: str = click.prompt("Which", type=click.Choice([SHARE, READ_ONLY]), err=True)
    return choice
