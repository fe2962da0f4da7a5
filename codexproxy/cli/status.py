"""``codexproxy status``: who is signed in, how long, and how much of the plan is used."""

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from codexproxy.cli.support.command import as_typed, login_of, profile_option, settings_or_exit
from codexproxy.data_dir import DataDir
from codexproxy.errors import local_time
from codexproxy.login.status import LoginStatus
from codexproxy.settings import Settings
from codexproxy.upstream.quota_store import QuotaBook

_STATES = {
    "due": "is about to be renewed",
    "expired": "has ended and is renewed with the next request",
    "dead": "cannot be renewed any more",
}


@click.command()
@profile_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(profile: str, as_json: bool) -> None:
    """Show who is signed in, until when, and the quota; exit code 1 when nothing can be served."""
    settings = settings_or_exit()
    account = login_of(settings, profile)
    found = account.status()
    quota = _quota(settings, profile)
    if as_json:
        click.echo(json.dumps({**found.as_dict(), "quota": quota}, indent=2))
    else:
        for line in _lines(found, account.command, quota):
            click.echo(as_typed(line))
    sys.exit(0 if found.ready else 1)


def _lines(found: LoginStatus, command: str, quota: list[dict[str, Any]]) -> Iterator[str]:
    if found.state == "not_logged_in":
        yield found.warning or f"Nobody is signed in. Run `{command}`."
    else:
        yield from _facts(found, command)
    for window in quota:
        resets = f", starts again {window['resets_at_local']}" if window["resets_at_local"] else ""
        yield f"Quota         {window['label']}: {window['used_percent']:g} % used{resets}"


def _facts(found: LoginStatus, command: str) -> Iterator[str]:
    yield f"Signed in as  {found.email or 'an account without an address'}"
    yield f"Plan          {found.plan or 'unknown'}"
    yield f"Account       {found.account_id or 'unknown'}"
    yield f"Access token  {_moment('ends', found.ends_at)}"
    yield f"Renewed       {_moment('', found.refreshed_at)}"
    yield f"Kept in       {found.source}"
    if found.state in _STATES:
        yield f"State         {_STATES[found.state]}"
    if found.state == "dead":
        yield f"Next step     run `{command}` to sign in again"
    if found.warning:
        yield f"Note          {found.warning}"


def _moment(verb: str, milliseconds: int | None) -> str:
    if milliseconds is None:
        return "unknown"
    seconds = milliseconds / 1000
    return f"{verb} {local_time(seconds)} ({_distance(seconds - time.time())})".strip()


def _distance(seconds: float) -> str:
    for span, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if abs(seconds) >= 2 * span:
            text = f"{abs(seconds) // span:g} {unit}"
            break
    else:
        text = f"{abs(seconds):.0f} seconds"
    return f"in {text}" if seconds > 0 else f"{text} ago"


def _quota(settings: Settings, profile: str) -> list[dict[str, Any]]:
    path = DataDir(settings.data_dir).quotas
    if not path.exists():  # looking must not make it
        return []
    book = QuotaBook(path)
    names = [row.name for row in settings.providers if row.uses_login and row.profile == profile]
    known = [quota for name in names if (quota := book.of(name)) is not None]
    book.close()
    newest = max(known, key=lambda quota: quota.seen_at, default=None)
    return [window.as_dict(time.time()) for window in newest.windows] if newest else []
