"""``codexproxy login``: signs in by browser, device code or pasted URL, or links the login of another program.

The Codex CLI's login, or ChatMock's, is used where it lies; it is never copied.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from codexproxy.cli.support.command import login_of, profile_option, settings_or_exit, told
from codexproxy.data_dir import DEFAULT_PROFILE
from codexproxy.errors import InvalidRequest, ProxyError
from codexproxy.login.oauth.login_method import BROWSER, DEVICE, choose_way, in_container
from codexproxy.settings import Settings

if TYPE_CHECKING:
    from codexproxy.cli.support.terminal_login import Terminal
    from codexproxy.login.account import Login
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


def link(account: "Login", path: Path, mode: str | None) -> "Tokens":
    """Uses the login in a file from now on.

    Args:
        account: Which login of ours it becomes.
        path: The file.
        mode: ``share`` or ``read-only``; None to explain and ask.

    Raises:
        ProxyError: There is no login in it, or the link could not be kept.
    """
    from codexproxy.login.tokens.external_store import Link

    return account.store.link(Link(path, mode or _ask(account, path)))


def _ask(account: "Login", path: Path) -> str:
    click.echo(_EXPLANATION.format(path=path, command=account.command), err=True)
    if not sys.stdin.isatty():
        raise click.UsageError("Choose --share or --read-only.")
    from codexproxy.login.tokens.external_store import READ_ONLY, SHARE

    choice: str = click.prompt("Which", type=click.Choice([SHARE, READ_ONLY]), err=True)
    return choice


PASTE = "paste"
USUAL = "-"


@click.command()
@click.option("--browser", "way", flag_value=BROWSER, help="Use the browser of this machine.")
@click.option("--device", "way", flag_value=DEVICE, help="Show a code to enter in a browser anywhere.")
@click.option("--paste", "way", flag_value=PASTE, help="Paste the address a browser anywhere ends at.")
@click.option(
    "--from-codex",
    "codex",
    is_flag=False,
    flag_value=USUAL,
    metavar="[PATH]",
    help="Use the login of the Codex CLI (or ChatMock), from its auth.json.",
)
@click.option("--share", "mode", flag_value="share", help="With --from-codex: read and write that file.")
@click.option("--read-only", "mode", flag_value="read-only", help="With --from-codex: never renew, only read.")
@click.option("--export", "export", is_flag=True, help="Print the login for CODEX_TOKENS_JSON. It is a secret.")
@click.option("--move", "move", is_flag=True, help="With --export: forget the login here, so that one host uses it.")
@profile_option
@click.option("--json", "as_json", is_flag=True, help="Print who is signed in as JSON.")
@click.option("--offer", is_flag=True, hidden=True)
def login(
    way: str | None,
    codex: str | None,
    mode: str | None,
    export: bool,
    move: bool,
    profile: str,
    as_json: bool,
    offer: bool,
) -> None:
    """Sign in with your ChatGPT account.

    Without options it looks at this machine, chooses the way that fits and says why.
    """
    _check(way, codex, mode, export)
    if move and not export:
        raise click.UsageError("--move belongs to --export.")
    settings = settings_or_exit()
    account = login_of(settings, profile)
    if offer:
        _offer(account, settings)
        return
    with told():
        if export:
            _export(account, move)
            return
        with _sign_in(account, settings, way) if codex is None else _linked(account, settings, codex, mode):
            _welcome(account, as_json)
    _synchronise(settings, profile)


def _check(way: str | None, codex: str | None, mode: str | None, export: bool) -> None:
    chosen = [
        name for name, given in (("a way of signing in", way), ("--from-codex", codex), ("--export", export)) if given
    ]
    if len(chosen) > 1:
        raise click.UsageError(f"Choose one of {' and '.join(chosen)}.")
    if mode and codex is None:
        raise click.UsageError(f"--{mode} belongs to --from-codex.")


def _sign_in(account: "Login", settings: Settings, way: str | None) -> "AbstractContextManager[Tokens]":
    from codexproxy.app.logins import make_landing
    from codexproxy.cli.support.terminal_login import Terminal, pasting, tell

    if way is None:
        choice = choose_way(os.environ, container=in_container())
        way = choice.way
        tell(f"Signing in {_WORDS[way]}, because {choice.why}.\n")
    terminal = Terminal(
        account,
        make_landing(settings),
        settings.login_timeout_seconds,
        lines=pasting(also_from_a_pipe=way == PASTE),
        tell=tell,
    )
    return _begin(terminal, way)


_WORDS = {BROWSER: "with your browser", DEVICE: "with a code"}


def _begin(terminal: "Terminal", way: str) -> "AbstractContextManager[Tokens]":
    return {BROWSER: terminal.by_browser, DEVICE: terminal.by_device, PASTE: terminal.by_paste}[way]()


def _welcome(account: "Login", as_json: bool) -> None:
    status = account.status()
    if as_json:
        click.echo(json.dumps(status.as_dict(), indent=2))
        return
    plan = f" (plan {status.plan})" if status.plan else ""
    click.echo(f"Signed in as {status.email or status.account_id or 'an account without a name'}{plan}.")
    click.echo(f"The login is kept in {status.source}. A running codexproxy uses it already.", err=True)


def _synchronise(settings: Settings, profile: str) -> None:
    from codexproxy.cli.prompts import synchronise_quietly

    if profile == DEFAULT_PROFILE:
        synchronise_quietly(settings)


def _export(account: "Login", move: bool) -> None:
    from codexproxy.login.token_refresher import not_logged_in
    from codexproxy.login.tokens.env_import import VARIABLE, export

    if not account.is_own():
        raise ProxyError(
            "This login belongs to the Codex CLI. Its refresh token works once, so it cannot be used in two places; "
            f"run `{account.command}` to make a login of its own first."
        )
    if move:
        tokens = account.give_away(lambda tokens: click.echo(export(tokens)))
        note = "The login is forgotten here, so that the other host is the only one that uses it."
    else:
        tokens = account.credentials.latest()
        note = "Two hosts cannot share it: use --move unless this is the host that it is for, or sign in a second time."
        if tokens is not None:
            click.echo(export(tokens))
    if tokens is None:
        raise not_logged_in(account.command)
    click.echo(f"This line is a secret: put it into {VARIABLE} of one host. {note}", err=True)


@contextmanager
def _linked(account: "Login", settings: Settings, codex: str, mode: str | None) -> "Iterator[Tokens]":

    yield link(account, find_file(settings.cli_home, None if codex == USUAL else Path(codex)), mode)


def _offer(account: "Login", settings: Settings) -> None:
    """The login beside a server that was started without one; it ends well whatever becomes of it."""
    click.echo("Press Enter to sign in now; the server runs meanwhile.", err=True)
    try:
        if not sys.stdin.readline():
            return
        with _sign_in(account, settings, None):
            _welcome(account, False)
    except ProxyError as failure:
        click.echo(failure.message, err=True)
    except KeyboardInterrupt:
        return  # the server ends with us
