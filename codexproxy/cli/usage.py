"""``codexproxy usage``: what was used, by day, model, key and client."""

import csv
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from codexproxy.cli.quota import Json, quota_report, window_lines
from codexproxy.cli.support.command import settings_or_exit
from codexproxy.data_dir import DataDir
from codexproxy.errors import ProxyError
from codexproxy.metering.prices import AS_OF, PRICES
from codexproxy.storage.sqlite.ledger import DIMENSIONS, Ledger, Use

_HEAD = ("turns", "failed", "input", "cached", "output", "USD*")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table.

    Attributes:
        name: The day, model, key or client.
        turns: See ``Use``.
        failed: See ``Use``.
        input_tokens: See ``Use``.
        cached_tokens: See ``Use``.
        output_tokens: See ``Use``.
        estimated_usd: At API prices; models without a known price count nothing.
    """

    name: str
    turns: int
    failed: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    estimated_usd: float


@click.command()
@click.option(
    "--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="Number of days, today included."
)
@click.option("--by", "dimension", type=click.Choice(list(DIMENSIONS)), help="Print this table only.")
@click.option("--json", "as_json", is_flag=True, help="Print the tables as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print one table as CSV (by day unless --by says otherwise).")
def usage(days: int, dimension: str | None, as_json: bool, as_csv: bool) -> None:
    """Show the account's windows and what was used: turns, tokens, what they would have cost at API prices.

    Days are UTC. The price is an estimate: a subscription is not billed by the token.
    """
    if as_json and as_csv:
        raise click.UsageError("Choose one of --json and --csv.")
    since = first_moment(days, time.time())
    chosen = [dimension] if dimension else ["day"] if as_csv else list(DIMENSIONS)
    settings = settings_or_exit()
    try:
        tables, unpriced = _tables(DataDir(settings.data_dir).ledger, chosen, since)
    except ProxyError as error:
        click.echo(error.message, err=True)
        sys.exit(1)
    if as_csv:
        _print_csv(tables[chosen[0]])
        return
    quota = None if dimension else quota_report(settings)
    if as_json:
        _print_json(tables, unpriced, since, quota["providers"] if quota else None)
        return
    for line in window_lines(quota, time.time()) if quota else ():
        click.echo(line)
    _print_text(tables, unpriced)


def first_moment(days: int, now: float) -> float:
    """Midnight UTC at the beginning of so many days, in epoch seconds."""
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (today - timedelta(days=days - 1)).timestamp()


def _tables(path: Path, dimensions: Sequence[str], since: float) -> tuple[dict[str, list[Line]], list[str]]:
    if not path.exists():
        return {dimension: [] for dimension in dimensions}, []
    ledger = Ledger(path)
    try:
        uses = ledger.used_by(dimensions, since)
    finally:
        ledger.close()
    models = {use.model for found in uses.values() for use in found if use.input_tokens + use.output_tokens}
    return {dimension: lines(found) for dimension, found in uses.items()}, sorted(models - PRICES.keys())


def lines(uses: Iterable[Use]) -> list[Line]:
    """One line per name, its models added up."""
    found: dict[str, list[Use]] = {}
    for use in uses:
        found.setdefault(use.name, []).append(use)
    return [_line(name, parts) for name, parts in found.items()]


def _line(name: str, parts: Sequence[Use]) -> Line:
    return Line(
        name or "(none)",
        turns=sum(use.turns for use in parts),
        failed=sum(use.failed for use in parts),
        input_tokens=sum(use.input_tokens for use in parts),
        cached_tokens=sum(use.cached_tokens for use in parts),
        output_tokens=sum(use.output_tokens for use in parts),
        estimated_usd=round(sum(map(_dollars, parts)), 6),
    )


def _dollars(use: Use) -> float:
    price = PRICES.get(use.model)
    return price.of(use.input_tokens, use.cached_tokens, use.output_tokens) if price else 0.0


def _print_json(tables: dict[str, list[Line]], unpriced: list[str], since: float, quota: list[Json] | None) -> None:
    shown: Json = {f"by_{dimension}": [asdict(line) for line in table] for dimension, table in tables.items()}
    shown |= {} if quota is None else {"quota": quota}
    estimate = {"prices_as_of": AS_OF, "currency": "USD", "models_without_price": unpriced}
    began = datetime.fromtimestamp(since, UTC).date().isoformat()
    click.echo(json.dumps({"since": began, **shown, "estimate": estimate}, indent=2))


def _print_csv(table: list[Line]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(list(Line.__slots__))
    writer.writerows(asdict(line).values() for line in table)


def _print_text(tables: dict[str, list[Line]], unpriced: list[str]) -> None:
    if not any(tables.values()):
        click.echo("Nothing has been used yet.")
        return
    for dimension, table in tables.items():
        click.echo(f"{dimension:<24}" + "".join(f"{title:>12}" for title in _HEAD))
        for line in table:
            _, *numbers, dollars = asdict(line).values()
            click.echo(f"{line.name[:23]:<24}" + "".join(f"{number:>12,}" for number in numbers) + f"{dollars:>12.2f}")
        click.echo()
    click.echo(f"* An estimate at the API's standard prices as of {AS_OF}; a subscription is not billed by the token.")
    if unpriced:
        click.echo(f"  No price is known for: {', '.join(unpriced)}.")
