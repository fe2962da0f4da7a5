"""``codexproxy quota``: how much of the accounts is used, when it starts again, and who used it."""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import click

from codexproxy.cli.support.command import settings_or_exit
from codexproxy.data_dir import DataDir
from codexproxy.errors import local_time
from codexproxy.protocol.quota import span
from codexproxy.settings import Settings

_BAR = 20

Json = dict[str, Any]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--offline", is_flag=True, help="Do not ask upstream; show what its last answers said.")
def quota(as_json: bool, offline: bool) -> None:
    """Show the account's usage windows, how they will end at this pace, and the use by key."""
    report = quota_report(settings_or_exit(), ask=not offline)
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    for line in quota_lines(report, time.time()):
        click.echo(line)


def quota_report(settings: Settings, *, ask: bool = True) -> Json:
    """The report of ``GET /v1/quota``, made without a server.

    Args:
        settings: What the user decided.
        ask: Whether upstream is asked for what has grown old.
    """
    # Imported when needed: these bring the backends, which help texts do not need.
    from codexproxy.app.providers import Providers
    from codexproxy.app.quota_setup import make_report
    from codexproxy.upstream.quota_store import QuotaBook

    book = QuotaBook(DataDir(settings.data_dir).quotas)
    report = make_report(settings, Providers(settings, os.environ, book).all(), book)
    for provider in report.stale() if ask else ():
        report.ask(provider)
    return report.tell()


def quota_lines(report: Mapping[str, Any], now: float) -> Iterator[str]:
    """The report as text.

    Args:
        report: As ``quota_report`` makes it.
        now: Epoch seconds.
    """
    yield from window_lines(report, now)
    yield from _uses(report["use"], f"Use by key since {report['use_since_local']}:")


def window_lines(report: Mapping[str, Any], now: float) -> Iterator[str]:
    """The windows of each provider as text; the arguments are those of ``quota_lines``."""
    for row in report["providers"]:
        plan = f", plan {row['plan']}" if row["plan"] else ""
        yield f"{row['provider']} ({row['type']}{plan})"
        yield from (f"  {_window(window, now)}" for window in row["windows"])
        if not row["windows"]:
            yield f"  {row['problem'] or 'nothing is known of its quota yet'}"


def _window(window: Mapping[str, Any], now: float) -> str:
    used = float(window["used_percent"])
    full = min(_BAR, round(used * _BAR / 100))
    text = f"{window['label']:<8} [{'#' * full}{'.' * (_BAR - full)}] {used:5.1f} %"
    if window["resets_at"] is not None:
        text += f"  resets {window['resets_at_local']} (in {span(window['resets_at'] - now)})"
    return text + _forecast(window)


def _forecast(window: Mapping[str, Any]) -> str:
    if window["forecast_runs_out_at"] is not None:
        return f"; at this pace used up {local_time(window['forecast_runs_out_at'])}"
    if window["forecast_percent_at_reset"] is not None:
        return f"; at this pace {window['forecast_percent_at_reset']:g} % by then"
    return ""


def _uses(uses: Iterable[Mapping[str, Any]], title: str) -> Iterator[str]:
    rows = list(uses)
    if not rows:
        return
    yield title
    total: Callable[[Mapping[str, Any]], int] = lambda use: use["input_tokens"] + use["output_tokens"]  # noqa: E731
    for use in sorted(rows, key=total, reverse=True):
        tokens = f"{use['input_tokens']:>12,} in ({use['cached_tokens']:,} cached) {use['output_tokens']:>10,} out"
        yield f"  {use['name']:<20} {use['model']:<20} {use['turns']:>6} turns {tokens}"
