"""``docs/compatibility.md`` says what the tables and the tests say, no more and no less."""

import subprocess
import sys
from pathlib import Path

from tests.compatibility import ROOT, rows, sentence, sentences

PAGE = ROOT / "docs" / "compatibility.md"


def test_the_page_is_what_the_generator_prints() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "tests.compatibility"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert printed.returncode == 0, printed.stderr
    assert PAGE.read_text(encoding="utf-8") == printed.stdout, "run `make docs` and commit docs/compatibility.md"


def test_only_tests_are_sentences_of_the_page(tmp_path: Path) -> None:
    file = tmp_path / "test_some.py"
    file.write_text("def test_it_holds(): ...\ndef helper(): ...\nclass Some: ...\n")
    assert sentences(file) == "- It holds.\n"
    assert sentence("test_n8n_asks") == "N8n asks."


def test_a_table_is_markdown() -> None:
    assert rows(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
