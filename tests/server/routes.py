"""All routes of the application, as Flask knows them."""

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from flask import Flask
from werkzeug.routing import Rule

from codexproxy.app import create_app
from codexproxy.settings import load_settings


def application(folder: Path, **environ: str) -> Flask:
    """The application with a data folder of its own; nothing is started."""
    return create_app(load_settings({"HOME": str(folder), **environ}), {})


def rules() -> list[Rule]:
    """Every rule of the application."""
    with TemporaryDirectory() as folder:
        return list(application(Path(folder)).url_map.iter_rules())


def turn_routes() -> set[str]:
    """The routes of the API formats."""
    return {rule.rule for rule in rules() if rule.endpoint.startswith("turns.")}


def every_request() -> Iterator[tuple[str, str]]:
    """Method and path of every request the application knows, placeholders filled."""
    for rule in rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield method, path_of(rule.rule)


def path_of(rule: str) -> str:
    """A path that fits a rule."""
    return re.sub(r"<[^>]*>", "x", rule)
