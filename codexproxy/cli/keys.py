"""``codexproxy keys``: named keys, each with its own limits, taken up by a running service at once."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import click

from codexproxy.access.authorization import ADMIN, CLI_LEVELS, OWNER, ROLES, USER
from codexproxy.access.client_detection import BY_NAME
from codexproxy.access.key_file import KeyFile
from codexproxy.cli.support.command import settings_or_exit
from codexproxy.data_dir import DataDir
from codexproxy.errors import ProxyError
from codexproxy.settings import Settings, User
from codexproxy.upstream.provider import DEFAULT_GROUP

CONFIG, ENVIRONMENT = "config file", "PROXY_API_KEY"

# What ``change --no-limit`` calls the limits of a key.
_LIMIT_FIELDS = {
    "rate": "ratePerMinute",
    "tokens": "tokensPerDay",
    "parallel": "maxParallel",
    "reserve": "reserveWeeklyPercent",
}
LIMITS = tuple(_LIMIT_FIELDS)

Record = dict[str, Any]

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(invoke_without_command=True)
@as_json
@click.pass_context
def keys(context: click.Context, as_json: bool) -> None:
    """Make, list and end the keys of people and programs; lists them when nothing else is said."""
    if context.invoked_subcommand is None:
        context.invoke(list_keys, as_json=as_json)


def _fields(command: Callable[..., None]) -> Callable[..., None]:
    """The options of everything a key may have, under the key file's own names."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option(
        "--role", type=click.Choice(ROLES), help="user (turns, the default), metrics (/metrics only) or admin."
    ),
    click.option("--client", "allowedClients", multiple=True, help="Client it is for, such as codex-cli; repeatable."),
    click.option("--group", "providerGroup", help="Group of providers its turns go to."),
    click.option("--model", "models", multiple=True, help="Model it may use, or a pattern: 'gpt-5*'; repeatable."),
    click.option("--rate", "ratePerMinute", type=click.IntRange(1), help="Requests per minute."),
    click.option("--tokens", "tokensPerDay", type=click.IntRange(1), help="Tokens per day, in and out."),
    click.option("--parallel", "maxParallel", type=click.IntRange(1), help="Turns at the same time."),
    click.option(
        "--reserve", "reserveWeeklyPercent", type=click.FloatRange(0, 100), help="Percent of the week to leave."
    ),
    click.option(
        "--cli", type=click.Choice(CLI_LEVELS), help="The local Codex CLI: none (the default), read or write."
    ),
    click.option(
        "--cli-network/--no-cli-network", "cliNetwork", default=None, help="Let commands of that CLI use the network."
    ),
)


@keys.command()
@click.argument("name")
@_fields
@as_json
def add(name: str, as_json: bool, **fields: Any) -> None:
    """Make a key and show it, this once."""
    settings = settings_or_exit()
    with _told():
        _refuse_taken(name, settings)
        key = _file(settings).add(name, **_given(fields))
    _warn_of_group(fields["providerGroup"], settings)
    _warn_of_clients(fields["allowedClients"])
    _warn_of_cli(fields["providerGroup"] or DEFAULT_GROUP, fields["cli"], settings)
    _show_key(name, key, as_json)


@keys.command()
@click.argument("name")
@_fields
@click.option("--no-limit", "limits", type=click.Choice(LIMITS), multiple=True, help="Limit to remove; repeatable.")
@as_json
def change(name: str, as_json: bool, limits: tuple[str, ...], **fields: Any) -> None:
    """Change what a key may do; the key itself, and all else about it, stays."""
    changes = _given(fields) | {_LIMIT_FIELDS[limit]: None for limit in limits}
    if not changes:
        raise click.UsageError("Say what to change, such as --role admin or --rate 60.")
    settings = settings_or_exit()
    with _told():
        _file(settings).change(name, changes)
    _warn_of_group(fields["providerGroup"], settings)
    _warn_of_clients(fields["allowedClients"])
    _done(name, as_json)


def _given(fields: Record) -> Record:
    chosen = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
    return {name: value for name, value in chosen.items() if value not in (None, [])}


@keys.command("list")
@as_json
def list_keys(as_json: bool) -> None:
    """List all keys, without what they are."""
    settings = settings_or_exit()
    with _told():
        kept = (
            {"role": USER, "cli": "none", **record, "from": DataDir(settings.data_dir).keys.name}
            for record in _file(settings).records()
        )
        rows = [*_configured(settings), *kept]
    if as_json:
        click.echo(json.dumps({"keys": rows}, indent=2))
        return
    for row in rows:
        click.echo(_line(row))
    if not rows:
        click.echo("There are no keys yet; 'codexproxy keys add NAME' makes one.", err=True)


@keys.command()
@click.argument("name")
@as_json
def rotate(name: str, as_json: bool) -> None:
    """Give a key's holder a new one; the old one ends at once."""
    settings = settings_or_exit()
    with _told():
        key = _file(settings).rotate(name)
    _show_key(name, key, as_json)


def _show_key(name: str, key: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"name": name, "key": key}))
        return
    click.echo(key)
    click.echo("Keep it now: only its hash is stored, and it cannot be shown again.", err=True)


def _done(name: str, as_json: bool) -> None:
    click.echo(json.dumps({"name": name, "done": True}) if as_json else "Done; a running service uses it already.")


def _simple(name: str, what: str, change: Callable[[KeyFile, str], None]) -> None:
    @keys.command(name, help=what)
    @click.argument("name")
    @as_json
    def command(name: str, as_json: bool) -> None:
        settings = settings_or_exit()
        with _told():
            change(_file(settings), name)
        _done(name, as_json)


_simple("disable", "Refuse a key until it is enabled again.", KeyFile.disable)
_simple("enable", "Accept a key that was disabled.", lambda file, name: file.disable(name, disabled=False))
_simple("remove", "End a key for good.", KeyFile.remove)


def _file(settings: Settings) -> KeyFile:
    return KeyFile(DataDir(settings.data_dir).keys)


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong with the key file, as one sentence and exit code 1."""
    try:
        yield
    except (ValueError, KeyError, OSError, ProxyError) as error:
        click.echo(str(error.args[0]) if isinstance(error, KeyError) else str(error), err=True)
        sys.exit(1)


def _refuse_taken(name: str, settings: Settings) -> None:
    if any(user.name == name for user in settings.users):
        raise ValueError(f"The name {name!r} belongs to a user of the config file; choose another one for the key.")


def _warn_of_group(group: str | None, settings: Settings) -> None:
    known = {provider.group for provider in settings.providers if provider.enabled}
    if group and group not in known:
        click.echo(f"No enabled provider is of group '{group}' yet; its turns will fail until one is.", err=True)


def _warn_of_cli(group: str, level: str | None, settings: Settings) -> None:
    rows = [row for row in settings.providers if row.enabled and row.group == group]
    if rows and all(row.capabilities.runs_cli_models for row in rows) and level in (None, "none"):
        click.echo(
            f"Only the local Codex CLI answers in group '{group}', and this key may not use it; "
            "'--cli read' or '--cli write' permits it.",
            err=True,
        )


def _warn_of_clients(clients: Sequence[str]) -> None:
    for client in clients:
        if client not in BY_NAME:
            near = get_close_matches(client, BY_NAME, n=1)
            advice = f"did you mean {near[0]}?" if near else f"those there are: {', '.join(BY_NAME)}."
            click.echo(f"No client is called '{client}', so this key will be refused to all; {advice}", err=True)


def _configured(settings: Settings) -> list[Record]:
    owner = [{"name": OWNER, "role": ADMIN, "isEnabled": True, "from": ENVIRONMENT}] if settings.api_key else []
    return owner + [_record(user) for user in settings.users]


def _record(user: User) -> Record:
    found = {
        "name": user.name,
        "role": user.role,
        "isEnabled": user.enabled,
        "allowedClients": list(user.allowed_clients),
        "providerGroup": user.provider_group,
        "models": list(user.models),
        "ratePerMinute": user.rate_per_minute,
        "tokensPerDay": user.tokens_per_day,
        "maxParallel": user.max_parallel,
        "reserveWeeklyPercent": user.reserve_weekly_percent or None,
        "cli": user.cli,
        "cliNetwork": user.cli_network or None,
    }
    return {name: value for name, value in found.items() if value not in (None, [])} | {"from": CONFIG}


# Field of a key -> how a line tells it.
_TOLD: tuple[tuple[str, str], ...] = (
    ("role", "role {}"),
    ("providerGroup", "group {}"),
    ("allowedClients", "only {}"),
    ("models", "models {}"),
    ("ratePerMinute", "{} a minute"),
    ("tokensPerDay", "{} tokens a day"),
    ("maxParallel", "{} at a time"),
    ("reserveWeeklyPercent", "leaves {} % of the week"),
    ("cli", "local CLI {}"),
    ("cliNetwork", "with network"),
)
# What need not be told.
_USUAL: tuple[Any, ...] = (None, [], ["*"], "default", USER, "none")


def _line(row: Record) -> str:
    told = [words.format(_text(row[field])) for field, words in _TOLD if row.get(field) not in _USUAL]
    state = "enabled" if row.get("isEnabled", True) else "disabled"
    return f"{row['name']:<24} {state:<9} {row['from']:<14} {', '.join(told)}".rstrip()


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
