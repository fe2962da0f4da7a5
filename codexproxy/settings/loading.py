"""Joins defaults, config file and environment into one `Settings`."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from codexproxy.settings import parsing
from codexproxy.settings.entries import Provider
from codexproxy.settings.model import Settings
from codexproxy.settings.nested import READERS, unknown_key
from codexproxy.settings.problems import Problem, SettingsError
from codexproxy.settings.rows import Row, rows_of
from codexproxy.settings.sources import flatten, read_config, read_dotenv

ROWS = tuple(rows_of(Settings))
_BY_KEY = {row.key: row for row in ROWS if row.key}
_BY_ENV = {row.env: row for row in ROWS if row.env}
_SECTIONS = frozenset(key.partition(".")[0] for key in _BY_KEY)
_FILE_KEYS = (*_BY_KEY, *READERS)

# A folder of somebody else's may hold a ``.env``. It must not choose which program runs, where a login or a prompt
# is sent, which files are read and written, or who may ask.
_PLACES = (parsing.url, parsing.exact_url, parsing.secure_url, parsing.host, parsing.address, parsing.folder)
_POWERS = frozenset(
    {
        "ALLOW_UNAUTHENTICATED",
        "CODEX_ALLOW_DANGER_FULL_ACCESS",
        "CODEX_BIN",
        "CODEX_CLIENT_ID",
        "CODEX_LOCAL_ONLY",
        "CODEX_PROJECT_DOCS",
        "CODEX_SANDBOX_MODE",
        "CODEX_TOKENS_JSON",
        "CORS_ALLOW_ORIGINS",
        "FETCH_REMOTE_IMAGES",
        "LIMITS_STORAGE",
    }
)
NOT_FROM_DOTENV = _POWERS | {name for name, row in _BY_ENV.items() if row.parse in _PLACES}


class _Gathering:
    """Values found so far and everything that is wrong with them."""

    def __init__(self, problems: list[Problem]) -> None:
        self.values: dict[str, Any] = {}
        self.problems = problems

    def take(self, row: Row, key: str, raw: Any, *, from_file: bool) -> None:
        try:
            self.values[row.name] = (row.parse_file if from_file else row.parse)(raw)
        except ValueError as error:
            self.problems.append(Problem(key, str(error)))


def load_settings(environ: Mapping[str, str], *, dotenv: Path | None = None) -> Settings:
    """Reads the settings: defaults < config file < ``.env`` < environment.

    An empty environment variable counts as unset. Relative paths are relative
    to the working directory.

    Args:
        environ: The environment, normally ``os.environ``.
        dotenv: A ``.env`` file whose lines the environment overrides; it may be missing. Lines
            that set one of ``NOT_FROM_DOTENV`` are ignored.

    Raises:
        SettingsError: Some values cannot be used; holds all of them.
    """
    lines, problems = read_dotenv(dotenv)
    usable = {name: value for name, value in lines.items() if name not in NOT_FROM_DOTENV}
    merged = {name: value for name, value in {**usable, **environ}.items() if value.strip()}
    gathering = _Gathering(problems)
    _take_file(gathering, _config_path(merged), required="CONFIG_PATH" in merged)
    for name in _BY_ENV.keys() & merged.keys():
        gathering.take(_BY_ENV[name], name, merged[name], from_file=False)
    settings = _assemble(gathering.values, _home(merged))
    gathering.problems += _homeless(settings) + _no_folders(settings)
    if gathering.problems:
        raise SettingsError(tuple(sorted(gathering.problems, key=str)))
    return settings


def _config_path(environ: Mapping[str, str]) -> Path:
    return _expand(Path(environ.get("CONFIG_PATH", "~/.codexproxy/config.json").strip()), _home(environ))


def _take_file(gathering: _Gathering, path: Path, *, required: bool) -> None:
    content, mistakes = read_config(path, required)
    gathering.problems += mistakes
    for key, value in flatten(content, _SECTIONS):
        if key in _SECTIONS:
            if value is not None:
                gathering.problems.append(Problem(key, "must be an object that holds the settings of this section."))
        elif key not in _FILE_KEYS:
            gathering.problems.append(unknown_key(key, key, _FILE_KEYS if "." in key else (*_SECTIONS, *_FILE_KEYS)))
        elif value is None:
            continue  # null stands for "the default"
        elif key in READERS:
            gathering.values[key], mistakes = READERS[key](value, key)
            gathering.problems += mistakes
        else:
            gathering.take(_BY_KEY[key], key, value, from_file=True)


def _assemble(values: dict[str, Any], home: str | None) -> Settings:
    """Defaults for what is missing, then what depends on more than one value."""
    if values.get("address"):
        values["host"], values["port"] = values["address"]
    for row in ROWS:
        path = values.get(row.name, Path(row.shown) if row.shown.startswith("~") else None)
        if isinstance(path, Path):
            values[row.name] = _expand(path, home)
    settings = Settings(**values)
    if settings.providers != (Provider(name="default"),):
        return settings
    return replace(settings, providers=(replace(settings.providers[0], type=settings.default_provider_type),))


def _home(environ: Mapping[str, str]) -> str | None:
    if home := environ.get("HOME"):
        return home
    try:
        return str(Path.home())
    except RuntimeError:  # an account without a home folder, as in some containers
        return None


def _expand(path: Path, home: str | None) -> Path:
    if path.parts[:1] != ("~",) or home is None:
        return path
    return Path(home, *path.parts[1:])


def _homeless(settings: Settings) -> list[Problem]:
    """Without a home folder every path below it has to be given."""
    lost = [row for row in ROWS if _is_lost(getattr(settings, row.name))]
    return [Problem(row.env or str(row.key), "there is no home folder; set HOME, or give a full path.") for row in lost]


def _no_folders(settings: Settings) -> list[Problem]:
    """What has to be a folder and is something else, or lies below something else."""
    problems = []
    for key, folder in (("DATA_DIR", settings.data_dir), ("LOG_DIR", settings.log_dir)):
        obstacle = _obstacle(folder) if folder is not None else None
        if obstacle is not None:
            problems.append(Problem(key, f"{folder} cannot be a folder, because {obstacle} is a file; name another."))
    return problems


def _obstacle(folder: Path) -> Path | None:
    # ``exists`` is false, and raises nothing, also where nobody may look.
    nearest = next((path for path in (folder, *folder.parents) if os.path.exists(path)), None)
    return nearest if nearest is not None and not os.path.isdir(nearest) else None


def _is_lost(value: Any) -> bool:
    return isinstance(value, Path) and value.parts[:1] == ("~",)
