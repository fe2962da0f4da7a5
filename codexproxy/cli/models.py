"""``codexproxy models``: which models can be asked for."""

import json
import sys
from typing import Any

import click

from codexproxy.cli.support.command import settings_or_exit
from codexproxy.cli.support.local_server import LocalServer, ServerRefused
from codexproxy.planning.model_catalog import FALLBACK, ModelSpec
from codexproxy.settings import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def models(as_json: bool) -> None:
    """List the models: those of the running server, else the built-in table."""
    try:
        rows, source = _rows(settings_or_exit())
    except ServerRefused as refusal:
        click.echo(str(refusal), err=True)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps({"object": "list", "data": rows}, indent=2))
        return
    for row in rows:
        click.echo(_line(row))
    click.echo(f"({source})", err=True)


def _rows(settings: Settings) -> tuple[list[dict[str, Any]], str]:
    server = LocalServer.of(settings)
    answer = server.get_json("/v1/models")
    if answer is None:
        return [_built_in(spec) for spec in FALLBACK], "built-in table; no server is running"
    return [row for row in answer.get("data", []) if isinstance(row, dict)], f"from {server.base_url}"


def _built_in(spec: ModelSpec) -> dict[str, Any]:
    return {
        "id": spec.slug,
        "object": "model",
        "created": 0,
        "owned_by": "codex",
        "context_window": spec.context_window,
        "reasoning_efforts": list(spec.efforts),
        "default_reasoning_effort": spec.default_effort,
    }


def _line(row: dict[str, Any]) -> str:
    efforts = row.get("reasoning_efforts")
    known = ", ".join(map(str, efforts)) if isinstance(efforts, list) else ""
    window = row.get("context_window")
    return f"{row.get('id', ''):<24} {window or '':>9}  {known}".rstrip()
