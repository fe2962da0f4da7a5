"""Markdown pages, as far as their tests look into them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

# What the pages call the service; it runs elsewhere in tests.
ADDRESS = "http://127.0.0.1:3000"

_LINE = re.compile(r"^(?:```(?P<kind>\w*)|(?P<level>#+) (?P<title>.*))$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        section: Title of the heading it stands under.
        kind: Word behind its opening fence.
        text: What is in it.
        number: Which of the page's blocks it is, from 1.
    """

    section: str
    kind: str
    text: str
    number: int

    def __str__(self) -> str:
        return f"{self.number}-{self.section}-{self.kind}"


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in its order."""
    return _read(page)[0]


def headings(page: Path) -> list[tuple[int, str]]:
    """Level and title of all headings of a page, in its order."""
    return _read(page)[1]


def anchors(page: Path) -> set[str]:
    """The marks of its headings, as code hosts make them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for _, title in headings(page)}


def _read(page: Path) -> tuple[list[Block], list[tuple[int, str]]]:
    found: list[Block] = []
    titles: list[tuple[int, str]] = [(0, "")]
    kind: str | None = None
    text: list[str] = []
    for line in page.read_text(encoding="utf-8").splitlines():
        mark = _LINE.match(line)
        if kind is not None and line == "```":
            found.append(Block(titles[-1][1], kind, "\n".join(text) + "\n", len(found) + 1))
            kind, text = None, []
        elif kind is not None:
            text.append(line)
        elif mark and mark["level"]:
            titles.append((len(mark["level"]), mark["title"]))
        elif mark:
            kind = mark["kind"]
    assert kind is None, f"a block of {page.name} has no end"
    return found, titles[1:]
