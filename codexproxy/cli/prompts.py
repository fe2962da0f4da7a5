"""``codexproxy prompts``: the official instruction texts, from where they are published."""

import difflib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from codexproxy.cli.support.command import settings_or_exit
from codexproxy.data_dir import DataDir
from codexproxy.errors import ProxyError
from codexproxy.settings import Settings
from codexproxy.storage.files.prompts import PromptStore, texts_in_folder

CATALOGUE = "catalogue"
# Seconds that nobody minds to wait at the end of a login.
_HURRY = 10.0

Texts = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Source:
    """Where texts come from.

    Attributes:
        name: As the store notes it.
        read: Gets the texts by model.
    """

    name: str
    read: Callable[[], Texts]


@click.group()
def prompts() -> None:
    """Synchronise and check the official instruction texts."""


def _sourced(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--from-folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="MODEL.md …"),
        click.option("--from-cli", is_flag=True, help="The installed Codex CLI."),
        click.option(
            "--from-github", is_flag=False, flag_value="main", metavar="[TAG]", help="The public Codex repository."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    ):
        command = option(command)
    return command


@prompts.command()
@_sourced
def sync(as_json: bool, **given: Any) -> None:
    """Fetch the current texts: from your account's catalogue, unless another source is named."""
    settings = settings_or_exit()
    with _told():
        source = _source(settings, **given)
        found = source.read()
        if not found:
            raise ValueError(f"The {source.name} holds no instruction texts.")
        changed = _store(settings).save(found, source.name, time.time())
    if as_json:
        click.echo(json.dumps({"source": source.name, "models": sorted(found), "changed": sorted(changed)}))
        return
    for model in sorted(changed):
        click.echo(model)
    click.echo(f"{len(found)} models in the {source.name}, {len(changed)} of them with new texts.", err=True)


@prompts.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_texts(as_json: bool) -> None:
    """List the texts there are, with source, date and SHA-256."""
    entries = _store(settings_or_exit()).entries()
    if as_json:
        click.echo(json.dumps({"prompts": [asdict(entry) for entry in entries]}, indent=2))
        return
    for entry in entries:
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.fetched_at))
        use = "sent" if entry.number == 0 else "known"
        click.echo(f"{entry.model:<24} {use:<5} {entry.length:>7}  {day}  {entry.sha256[:16]}  {entry.source}")
    if not entries:
        click.echo("There are none yet; 'codexproxy prompts sync' fetches them.", err=True)


@prompts.command()
@_sourced
def diff(as_json: bool, **given: Any) -> None:
    """Show what a synchronisation would change; exit code 1 when it would change something."""
    settings = settings_or_exit()
    with _told():
        found, known = _source(settings, **given).read(), _store(settings).load()
    pairs = {model: (_first(known.get(model, [])), _first(found[model])) for model in sorted(found)}
    changed = {model: _difference(model, *pair) for model, pair in pairs.items() if pair[0] != pair[1]}
    if as_json:
        click.echo(json.dumps({"changed": [{"model": model, "diff": text} for model, text in changed.items()]}))
    else:
        click.echo("".join(changed.values()), nl=False)
    sys.exit(1 if changed else 0)


@prompts.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(as_json: bool) -> None:
    """Check that every text still is what was synchronised."""
    store = _store(settings_or_exit())
    entries, damaged = store.entries(), store.verify()
    if as_json:
        click.echo(json.dumps({"texts": len(entries), "damaged": damaged}))
    elif damaged:
        click.echo(f"Changed or missing: {', '.join(damaged)}. 'codexproxy prompts sync' fetches them again.", err=True)
    else:
        click.echo(f"{len(entries)} texts, all as they were synchronised.")
    sys.exit(1 if damaged else 0)


def _first(texts: Sequence[str]) -> str:
    return texts[0] if texts else ""


def _difference(model: str, old: str, new: str) -> str:
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), f"{model} (here)", f"{model} (there)"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _store(settings: Settings) -> PromptStore:
    return PromptStore(DataDir(settings.data_dir).prompts)


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong, as one sentence and exit code 1."""
    try:
        yield
    except (OSError, ValueError, ProxyError) as error:
        click.echo(str(error), err=True)
        sys.exit(1)


def _source(
    settings: Settings, from_folder: Path | None = None, from_cli: bool = False, from_github: str | None = None
) -> Source:
    if sum(map(bool, (from_folder, from_cli, from_github))) > 1:
        raise click.UsageError("Please name one source only.")
    # Imported when needed: these bring the network with them, which listing does not need.
    from codexproxy.upstream.chatgpt import instruction_sources

    if from_folder:
        folder = from_folder
        return Source("folder", lambda: texts_in_folder(folder))
    if from_cli:
        return Source("codex cli", lambda: instruction_sources.texts_of_cli([settings.cli_bin]))
    if from_github:
        tag = from_github
        return Source(f"github {tag}", lambda: instruction_sources.texts_of_repository(_session(), tag))
    return Source(CATALOGUE, lambda: instruction_sources.texts_of_rows(_account_rows(settings)))


def synchronise_quietly(settings: Settings) -> None:
    """Takes the account's texts after a login; a service fetches them itself where that fails now."""
    from codexproxy.upstream.chatgpt.instruction_sources import texts_of_rows

    hurried = replace(settings, first_event_timeout=_HURRY, turn_timeout=_HURRY)
    try:
        found = texts_of_rows(_account_rows(hurried))
        _store(settings).save(found, CATALOGUE, time.time())
    except (OSError, ProxyError) as error:
        click.echo(f"The official instructions were not fetched: {error} 'codexproxy prompts sync' does it.", err=True)


def _session() -> Any:
    from codexproxy.outbound import new_session

    return new_session()


def _account_rows(settings: Settings) -> list[dict[str, Any]]:
    from codexproxy.app.providers import Providers, first_models
    from codexproxy.upstream.quota_store import QuotaBook

    quotas = QuotaBook(DataDir(settings.data_dir).quotas)
    return first_models(Providers(settings, os.environ, quotas).all())()
