"""Objects of the config file, read by the table of the dataclass they become."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, TypeVar

from codexproxy.settings.entries import GUARD, ClientRule, Provider, User
from codexproxy.settings.parsing import secure_url
from codexproxy.settings.problems import Problem
from codexproxy.settings.rows import rows_of

Named = TypeVar("Named", Provider, User)
Read = tuple[Any, list[Problem]]


def read_providers(value: Any, path: str) -> Read:
    """``providers[]``; an empty list means the one default provider."""
    providers, problems = _read_list(Provider, value, path)
    for provider in providers:
        problems += _in_the_clear(provider, f"{path}: {provider.name}.url")
    return providers or (Provider(name="default"),), problems


def _in_the_clear(provider: Provider, key: str) -> list[Problem]:
    """Refuses to send the login of ChatGPT over plain HTTP."""
    if provider.url is None or not provider.uses_login:
        return []
    try:
        secure_url(provider.url)
    except ValueError as error:
        return [Problem(key, str(error))]
    return []


def read_users(value: Any, path: str) -> Read:
    """``users[]``."""
    return _read_list(User, value, path)


def read_guard(value: Any, path: str) -> Read:
    """``guard.*``: one rule per kind of client; what is left out keeps its default."""
    if not isinstance(value, dict):
        return (), [Problem(path, 'must be an object such as {"codexCli": {"userAgents": ["codex_exec"]}}.')]
    problems = [unknown_key(f"{path}.{key}", key, GUARD) for key in value if key not in GUARD]
    rules = dict(GUARD)
    for key in GUARD.keys() & value.keys():
        found, mistakes = _read_fields(ClientRule, value[key], f"{path}.{key}")
        rules[key] = replace(GUARD[key], **found)
        problems += mistakes
    return tuple(rules.values()), problems


# The three parts of the file that are more than one value each.
READERS: dict[str, Callable[[Any, str], Read]] = {
    "providers": read_providers,
    "users": read_users,
    "guard": read_guard,
}


def unknown_key(path: str, key: str, known: Iterable[str]) -> Problem:
    """The problem of a key that does not exist, naming the nearest that does."""
    candidates = list(known)
    by_last_word = {name.rpartition(".")[2].lower(): name for name in candidates}
    near = get_close_matches(key, candidates, n=1, cutoff=0.6)
    near = near or [by_last_word[word] for word in get_close_matches(key.rpartition(".")[2].lower(), by_last_word, n=1)]
    advice = f"did you mean {near[0]}?" if near else "remove it, or see docs/settings.md for what there is."
    return Problem(path, f"there is no such setting; {advice}")


def _read_list(model: type[Named], value: Any, path: str) -> tuple[tuple[Named, ...], list[Problem]]:
    if not isinstance(value, list):
        return (), [Problem(path, "must be a list of objects.")]
    items: list[Named] = []
    problems: list[Problem] = []
    for position, entry in enumerate(value):
        found, mistakes = _read_fields(model, entry, f"{path}[{position}]")
        if isinstance(entry, dict) and entry.get("name") is None:
            mistakes.append(Problem(f"{path}[{position}].name", "is missing; give every entry a name."))
        if found.get("name") in {item.name for item in items}:
            mistakes.append(Problem(f"{path}[{position}].name", "is taken by an earlier entry; choose another."))
        if not mistakes:
            items.append(model(**found))
        problems += mistakes
    return tuple(items), problems


def _read_fields(model: type, entry: Any, path: str) -> tuple[dict[str, Any], list[Problem]]:
    if not isinstance(entry, dict):
        return {}, [Problem(path, "must be an object.")]
    table = {row.key: row for row in rows_of(model) if row.key}
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, value in entry.items():
        if key not in table:
            problems.append(unknown_key(f"{path}.{key}", key, table))
        elif value is not None:
            try:
                found[table[key].name] = table[key].parse_file(value)
            except ValueError as error:
                problems.append(Problem(f"{path}.{key}", str(error)))
    return found, problems
