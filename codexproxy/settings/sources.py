"""Where raw values come from: the config file and ``.env``."""

import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codexproxy.settings.problems import Problem

Values = dict[str, Any]


def read_config(path: Path, required: bool) -> tuple[Values, list[Problem]]:
    """The config file's JSON object; ``{}`` when it is absent and not required."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if not required:
            return {}, []
        return {}, [Problem("CONFIG_PATH", f"there is no file {path}; create it, or unset CONFIG_PATH.")]
    except UnicodeDecodeError:
        return {}, [Problem(str(path), "is not UTF-8 text; save it again as UTF-8.")]
    except OSError as error:
        return {}, [Problem(str(path), f"cannot be read ({error.strerror}); check the path and its permissions.")]
    return _parse(content, str(path))


def _parse(content: str, path: str) -> tuple[Values, list[Problem]]:
    problems: list[Problem] = []

    def collect(pairs: list[tuple[str, Any]]) -> Values:
        known = dict(pairs)
        repeated = [key for key in known if sum(key == name for name, _ in pairs) > 1]
        problems.extend(Problem(key, "appears twice in one object of the config file; keep one.") for key in repeated)
        return known

    try:
        values = json.loads(content or "{}", object_pairs_hook=collect)
    except json.JSONDecodeError as error:
        return {}, [Problem(path, f"is not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}.")]
    except RecursionError:
        return {}, [Problem(path, "is nested too deeply to be a config file.")]
    if not isinstance(values, dict):
        return {}, [Problem(path, 'must hold one JSON object, such as {"server": {"port": 3000}}.')]
    return values, problems


def read_dotenv(path: Path | None) -> tuple[dict[str, str], list[Problem]]:
    """The ``KEY=value`` lines of a ``.env`` file; ``{}`` when it is missing.

    Quotes, ``export`` and comments are understood; ``$NAME`` is kept as it is.
    A file that another user owns or may write is a problem, and none of its lines count.
    """
    if path is None or not path.is_file():
        return {}, []
    try:
        with path.open(encoding="utf-8-sig") as file:
            if reason := _foreign(os.fstat(file.fileno())):
                return {}, [Problem(str(path), reason)]
            content = file.read()
    except UnicodeDecodeError:
        return {}, [Problem(str(path), "is not UTF-8 text; save it again as UTF-8.")]
    except OSError as error:
        return {}, [Problem(str(path), f"cannot be read ({error.strerror}); check its permissions.")]
    return _parse_dotenv(content, path)


def _foreign(status: os.stat_result) -> str | None:
    """Why a file may hold the words of another user; None when only this user and root can have written it."""
    if status.st_uid not in (os.geteuid(), 0):
        return "belongs to another user, so its settings are not used; start elsewhere, or make it your own file."
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be written by other users, so its settings are not used; `chmod go-w .env` fixes that."
    return None


def _parse_dotenv(content: str, path: Path) -> tuple[dict[str, str], list[Problem]]:
    from io import StringIO

    from dotenv.parser import parse_stream  # only `serve` reads .env, so nobody else pays for the import

    values: dict[str, str] = {}
    problems: list[Problem] = []
    for binding in parse_stream(StringIO(content)):
        if binding.error or (binding.key and binding.value is None):
            problems.append(Problem(f"{path}, line {binding.original.line}", "must look like NAME=value."))
        elif binding.key and binding.value is not None:
            values[binding.key] = binding.value
    return values, problems


def flatten(values: Mapping[str, Any], sections: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Dotted paths and values; only known sections are opened."""
    for key, value in values.items():
        if key in sections and isinstance(value, dict):
            yield from ((f"{key}.{inner}", item) for inner, item in value.items())
        else:
            yield key, value
