"""The promises of docs/security.md are kept by tests that exist."""

import re

from tests.service import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_promise_names_tests_that_exist() -> None:
    promised = PAGE.partition("## What is promised")[2].partition("## What is not promised")[0]
    promises = re.split(r"^- ", promised, flags=re.MULTILINE)[1:]
    assert len(promises) > 10
    for promise in promises:
        places = re.findall(r"`(tests/[\w/.]+)`", promise)
        assert places or "](" in promise, promise
        assert [place for place in places if not (ROOT / place).exists()] == [], promise


def test_the_contributors_letter_lists_every_folder_that_the_page_relies_on() -> None:
    letter = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for folder in (
        "authority",
        "growth",
        "two_callers",
        "hostile_numbers",
        "accounting",
        "slow_ends",
        "surroundings",
        "faults",
    ):
        assert f"`tests/{folder}`" in letter, folder
