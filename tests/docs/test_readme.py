"""README.md tells of every command and page; its Chinese twin is kept in step; no link of any page leads nowhere."""

import re
from pathlib import Path

import pytest

from codexproxy.cli import COMMANDS
from tests.docs.pages import DOCS, ROOT, anchors, blocks, headings

README, TWIN = ROOT / "README.md", ROOT / "README.zh-CN.md"
PAGES = [README, TWIN, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"(?:`|^)codexproxy ([a-z]+)", re.MULTILINE)
_CODE = re.compile(r"`[^`\n]+`")


def words(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def links(page: Path) -> list[str]:
    """Where its links lead, without those to other sites and those in code."""
    prose = re.sub(r"^```.*?^```$", "", words(page), flags=re.DOTALL | re.MULTILINE)
    return [link for link in _LINK.findall(prose) if "://" not in link]


def shape(page: Path) -> list[str]:
    """What a translation keeps: its headings, items, rows and fences, in their order; prose may break elsewhere."""
    return re.findall(r"^(#+ |- |\||```)", words(page), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_link_leads_nowhere(page: Path) -> None:
    lost = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_the_readme_leads_to_every_page() -> None:
    pages = {path.relative_to(ROOT).as_posix() for path in DOCS.glob("*.md")}
    assert pages - set(links(README)) == set()


def test_the_readme_names_every_command_and_no_other() -> None:
    assert set(_COMMAND.findall(words(README))) == set(COMMANDS)


def test_the_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = set(re.findall(r"(?:^|`)make ([a-z-]+)", words(README), re.MULTILINE))
    assert asked and asked <= targets


def test_the_twin_has_the_same_code() -> None:
    assert [(block.kind, block.text) for block in blocks(TWIN)] == [
        (block.kind, block.text) for block in blocks(README)
    ]
    assert sorted(_CODE.findall(words(TWIN))) == sorted(_CODE.findall(words(README)))


def test_the_twin_has_the_same_headings_items_rows_and_links() -> None:
    assert [level for level, _ in headings(TWIN)] == [level for level, _ in headings(README)]
    assert shape(TWIN) == shape(README)
    twins = {"README.md": "README.zh-CN.md"}
    assert [twins.get(link, link) for link in links(TWIN)] == links(README)
