"""Every page and heading that code, tests and docs cite exists, so that a reader can follow each claim to its source."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from codexproxy.simulator.rules import RULES
from tests.docs.pages import DOCS, ROOT, anchors

FOLDERS = ("codexproxy", "tests", "docs", "bench", "deploy", "prompts", ".ci")
KINDS = {".py", ".md", ".mjs", ".sh", ".toml", ".cfg", ".conf", ".yml", ".service", ""}
CITATION = re.compile(r"\b(docs/[\w./-]+?\.md)(?:#([\w-]+))?")
# Pages that the code once cited and that nobody outside could read.
LOST = re.compile(r"\b(?:UPSTREAM|COMPAT|CONTRACT|PERFORMANCE)" + r"\.md\b|\.\./" + r"shared\b")


def _files() -> Iterator[Path]:
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.suffix in KINDS)
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            hidden = {"__pycache__", "node_modules", "results", "data"} & set(path.relative_to(ROOT).parts)
            if path.is_file() and path.suffix in KINDS and not hidden:
                yield path


@cache
def _texts() -> dict[str, str]:
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8", "replace") for path in _files()}


def unresolved(text: str, base: Path = ROOT) -> list[str]:
    """Citations of a text that lead to no page or to no heading of it."""
    lost = []
    for match in CITATION.finditer(text):
        page = base / match[1]
        if not page.is_file() or (match[2] and match[2] not in anchors(page)):
            lost.append(match[0])
    return lost


def test_every_citation_leads_to_a_heading() -> None:
    found = {name: unresolved(text) for name, text in _texts().items() if name != "tests/docs/test_citations.py"}
    assert {name: lost for name, lost in found.items() if lost} == {}


def test_the_code_cites_its_sources() -> None:
    cited = [name for name, text in _texts().items() if name.startswith("codexproxy/") and CITATION.search(text)]
    assert len(cited) > 50


def test_every_page_of_the_reference_is_cited() -> None:
    cited = {match[1] for text in _texts().values() for match in CITATION.finditer(text)}
    cited |= {f"docs/reference/{rule.evidence.partition('#')[0]}" for rule in RULES.values()}
    pages = {path.relative_to(ROOT).as_posix() for path in (DOCS / "reference").glob("*.md")}
    assert pages - cited == set()


def test_every_rule_of_the_simulator_names_its_evidence() -> None:
    cited = {f"docs/reference/{rule.evidence.split(', ')[0]}" for rule in RULES.values() if ".md" in rule.evidence}
    assert len(cited) > 15
    assert sorted(citation for citation in cited if unresolved(citation)) == []


def test_no_page_outside_of_the_repository_is_cited() -> None:
    found = {name: LOST.findall(text) for name, text in _texts().items()}
    assert {name: lost for name, lost in found.items() if lost} == {}


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("See docs/reference/sign-in.md#token-refresh.", []),
        ("See docs/reference/sign-in.md.", []),
        ("(docs/reference/sign-in.md#token-refreshed)", ["docs/reference/sign-in.md#token-refreshed"]),
        ("docs/reference/nowhere.md", ["docs/reference/nowhere.md"]),
    ],
)
def test_a_citation_that_leads_nowhere_is_found(text: str, lost: list[str]) -> None:
    assert unresolved(text) == lost
