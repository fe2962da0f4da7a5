"""The code stays as docs/architecture.md describes it: who imports whom, how big things get, which words live where."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "codexproxy"

# Package -> packages it may import.
CORE = {"errors", "provider_types", "protocol", "metering", "compat", "planning"}
PLAIN = {*CORE, "data_dir", "observability", "outbound", "storage"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "provider_types": set(),
    "settings": {"data_dir", "provider_types"},
    "data_dir": set(),
    "bundled_instructions": set(),
    "outbound": set(),
    "protocol": {"errors"},
    "metering": {"errors", "protocol"},
    "compat": {"errors", "protocol", "metering"},
    "planning": {"errors", "protocol", "metering", "compat"},
    "storage": {"data_dir", "errors"},
    "observability": {*CORE, "storage"},
    "apis": PLAIN,
    "upstream": PLAIN,
    "login": PLAIN,
    # Access control decides where turns go: it makes the router's Route, and reads the providers' quota.
    "access": {*PLAIN, "upstream"},
    "simulator": CORE,
    "gunicorn": {*PLAIN, "access", "server"},
    "server": {*PLAIN, "apis", "upstream", "login", "access", "gunicorn"},
}
# These build everything, so they may see everything. gunicorn/config.py is the root
# from which gunicorn starts the app.
BUILDERS = {"app", "cli", "__main__"}
ROOTS = {"__init__.py", "gunicorn/config.py"}

# Module that belongs to few -> where it may be imported (path prefixes below codexproxy/).
HOMES = {
    "flask": ("server/", "gunicorn/", "simulator/", "app/"),
    "werkzeug": ("server/", "gunicorn/", "simulator/", "app/"),
    "marshmallow": ("apis/", "settings/", "server/"),
    "requests": ("outbound.py", "upstream/", "login/", "cli/"),
    "urllib3": ("outbound.py", "upstream/", "login/"),
    "gevent": ("server/", "gunicorn/", "upstream/codex_cli/", "access/", "storage/", "simulator/"),
    "gunicorn": ("gunicorn/", "server/"),
    "apispec": ("server/",),
    "prometheus_client": ("observability/", "server/", "app/"),
    "click": ("cli/",),
    "dotenv": ("settings/",),
}

FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "manager", "mixin", "core", "service"}

# Words of one place: pattern -> where it may stand in names and texts (docstrings and comments are free).
VOCABULARY = {
    r"\bchoices\b|\bfinish_reason\b": (
        "apis/openai_chat/",
        "apis/openai_completions.py",
        "simulator/",
    ),
    r"(?i)\bchatgpt-account-id\b|\bopenai-beta\b|\bx-openai-internal-|\bx-codex-(primary|secondary|turn-state)": (
        "upstream/chatgpt/",
        "simulator/",
    ),
}

BROAD = {"Exception", "BaseException"}

MOST_LINES_PER_FILE = 400
MOST_LINES_PER_FUNCTION = 60
SHORT_FUNCTION = 15


@dataclass(frozen=True)
class Source:
    """One module of the package."""

    path: Path
    name: str
    text: str
    tree: ast.Module

    @property
    def part(self) -> str:
        """The package it belongs to."""
        return self.name.split("/")[0].removesuffix(".py")


def parse(path: Path, name: str) -> Source:
    text = path.read_text(encoding="utf-8")
    return Source(path, name, text, ast.parse(text, str(path)))


@cache
def sources() -> tuple[Source, ...]:
    return tuple(parse(path, path.relative_to(PACKAGE).as_posix()) for path in sorted(PACKAGE.rglob("*.py")))


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a module imports, wherever in it."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source.name}:{node.lineno} imports relatively; write the full name"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def import_violations(source: Source) -> Iterator[str]:
    if source.part in BUILDERS or source.name in ROOTS:
        return
    allowed = MAY_IMPORT.get(source.part)
    if allowed is None:
        yield f"{source.name}: its package, {source.part}, has no row in MAY_IMPORT"
        return
    for line, name in imports(source):
        root, _, rest = name.partition(".")
        part = rest.partition(".")[0]
        if root == "codexproxy" and part not in {*allowed, source.part, "", "__version__"}:
            yield f"{source.name}:{line} imports {name}, but {source.part} may only import {sorted(allowed)}"


def home_violations(source: Source) -> Iterator[str]:
    for line, name in imports(source):
        homes = HOMES.get(name.partition(".")[0])
        if homes is not None and not source.name.startswith(homes):
            yield f"{source.name}:{line} imports {name}, which belongs to {', '.join(homes)}"


def functions(source: Source) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, (node.end_lineno or node.lineno) - node.lineno + 1 - _docstring_lines(node)


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    if ast.get_docstring(node, clean=False) is None:
        return 0
    return (node.body[0].end_lineno or 0) - node.body[0].lineno + 1


def budget_violations(source: Source) -> Iterator[str]:
    lines = source.text.count("\n")
    if lines > MOST_LINES_PER_FILE:
        yield f"{source.name} has {lines} lines, more than {MOST_LINES_PER_FILE}: split it by idea"
    for node, length in functions(source):
        if length > MOST_LINES_PER_FUNCTION:
            yield f"{source.name}:{node.lineno} {node.name} has {length} lines, more than {MOST_LINES_PER_FUNCTION}"


def words(source: Source) -> Iterator[tuple[int, str]]:
    """Names and texts of a module; docstrings are for people and stay out."""
    documentation = {id(node.value) for node in ast.walk(source.tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and id(node) not in documentation:
            yield node.lineno, node.value if isinstance(node.value, str) else node.value.decode("latin-1")
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg | ast.keyword):
            yield getattr(node, "lineno", 0), node.arg or ""


def vocabulary_violations(source: Source) -> Iterator[str]:
    for pattern, homes in VOCABULARY.items():
        if source.name.startswith(homes):
            continue
        for line, word in words(source):
            if found := re.search(pattern, word):
                yield f"{source.name}:{line} says {found[0]!r}, a word of {', '.join(homes)}"


def path_violations(source: Source) -> Iterator[str]:
    """File names of the data folder that stand anywhere but in data_dir.py."""
    if source.name == "data_dir.py" or source.part == "simulator":
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and node.value in file_names():
            yield f"{source.name}:{node.lineno} names {node.value}; ask DataDir for its path"


@cache
def file_names() -> frozenset[str]:
    """Every name with an ending that data_dir.py knows."""
    tree = ast.parse((PACKAGE / "data_dir.py").read_text(encoding="utf-8"))
    constants = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return frozenset(name for name in constants if isinstance(name, str) and re.fullmatch(r"\w+\.\w+", name))


def name_violations(source: Source) -> Iterator[str]:
    for step in source.name.removesuffix(".py").split("/"):
        if step in FORBIDDEN_NAMES:
            yield f"{source.name}: a module called {step} has no idea of its own; name it after what it holds"


def docstring_violations(source: Source) -> Iterator[str]:
    if not ast.get_docstring(source.tree):
        yield f"{source.name} has no docstring that says what it is for"


def patience_violations(source: Source) -> Iterator[str]:
    if re.search(r"\b(TODO|FIXME|XXX)\b", source.text):
        yield f"{source.name} holds a TODO: do it, or write it down as a decision"


def broad_except_violations(source: Source) -> Iterator[str]:
    lines = source.text.splitlines()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and not _raises_again(node):
            beside = "\n".join(lines[node.lineno - 2 : node.body[0].lineno])
            if "#" not in beside:
                yield f"{source.name}:{node.lineno} catches everything without saying why beside it"


def _is_broad(caught: ast.expr | None) -> bool:
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in BROAD) for kind in kinds)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


RULES = {
    "imports only go down, between strangers not at all": import_violations,
    "a library stays in its home": home_violations,
    "files and functions stay within their budget": budget_violations,
    "words stay in their home": vocabulary_violations,
    "paths of the data folder are written down once": path_violations,
    "modules are named after what they hold": name_violations,
    "every module says what it is for": docstring_violations,
    "a broad except has its reason beside it": broad_except_violations,
    "nothing is left half done": patience_violations,
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_the_house_is_in_order(rule: object) -> None:
    assert callable(rule)
    found = [violation for source in sources() for violation in rule(source)]
    if found:
        pytest.fail("\n".join(["", *found]), pytrace=False)


def test_tests_replace_nothing_behind_the_back_of_the_code() -> None:
    this = Path(__file__)
    tests = [path for path in sorted((ROOT / "tests").rglob("*.py")) if path != this]
    pattern = re.compile(r"mock\.patch|monkeypatch\.setattr|from unittest import mock|import unittest\.mock")
    found = [path.relative_to(ROOT) for path in tests if pattern.search(path.read_text(encoding="utf-8"))]
    assert not found, f"use fakes with names instead: {found}"


def test_most_functions_are_short(record_property: object) -> None:
    lengths = [length for source in sources() for _, length in functions(source)]
    short = sum(length <= SHORT_FUNCTION for length in lengths) / len(lengths)
    print(f"\n{len(lengths)} functions, {short:.0%} of at most {SHORT_FUNCTION} lines, longest {max(lengths)}")
    assert short >= 0.85


# Each rule is shown to bite: a module that breaks it, and where it would stand.
CULPRITS = {
    "protocol/a.py": ('"""X."""\nimport codexproxy.gunicorn.config\n', import_violations),
    "apis/b.py": ('"""X."""\nfrom codexproxy.login import store\n', import_violations),
    "novelty.py": ('"""X."""\n', import_violations),
    "protocol/c.py": ('"""X."""\ndef f():\n    import flask\n', home_violations),
    "access/d.py": ('"""X."""\nimport requests.adapters\n', home_violations),
    "server/e.py": ('"""X."""\n' + "a = 1\n" * 400, budget_violations),
    "server/f.py": ('"""X."""\ndef f():\n' + "    a = 1\n" * 61, budget_violations),
    "server/g.py": ('"""X."""\nbody = {"finish_reason": 1}\n', vocabulary_violations),
    "login/h.py": ('"""X."""\nname = b"ChatGPT-Account-Id: x"\n', vocabulary_violations),
    "login/l.py": ('"""X."""\nfile = "tokens.json"\n', path_violations),
    "server/utils.py": ('"""X."""\n', name_violations),
    "core/__init__.py": ('"""X."""\n', name_violations),
    "server/i.py": ("a = 1\n", docstring_violations),
    "server/k.py": ('"""X."""\ntry:\n    a = 1\nexcept (ValueError, Exception):\n    a = 2\n', broad_except_violations),
    "server/j.py": ('"""X."""\n# TODO: later\n', patience_violations),
}


@pytest.mark.parametrize("name", CULPRITS)
def test_a_culprit_is_found(name: str, tmp_path: Path) -> None:
    text, rule = CULPRITS[name]
    path = tmp_path / "culprit.py"
    path.write_text(text)
    (violation,) = rule(parse(path, name))
    assert name.removesuffix(".py") in violation
