"""``docs/faults.md`` says what the table says, and the table's rows are tested."""

from tests.faults import test_host, test_signals
from tests.faults.page import page
from tests.faults.table import HOST, UPSTREAM
from tests.service import ROOT


def test_the_page_is_what_the_generator_prints() -> None:
    page_there = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    assert page_there == page(), "run `make docs` and commit docs/faults.md"


def test_every_row_is_tested_and_every_test_has_its_row() -> None:
    tests = {*vars(test_host), *vars(test_signals)}
    assert set(HOST) == {name for name in tests if name.startswith("test_")}


def test_no_two_rows_are_taken_for_each_other() -> None:
    slugs = [fault.slug for fault in UPSTREAM]
    assert not [(one, other) for one in slugs for other in slugs if one != other and one in other]
