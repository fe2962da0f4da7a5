"""Use by key is counted over processes and days."""

from pathlib import Path

import pytest

from codexproxy.state.ledger import KEPT_DAYS, Ledger, Use
from tests.fakes.clock import Clock

DAY = 86_400.0


@pytest.fixture
def clock() -> Clock:
    return Clock(1_795_219_200.0 + 3600)


def test_turns_of_all_processes_are_added_up_by_key_and_model(tmp_path: Path, clock: Clock) -> None:
    one, two = Ledger(tmp_path / "u.db", clock), Ledger(tmp_path / "u.db", clock)
    one.add("ann", "gpt-5.2", input_tokens=100, cached_tokens=40, output_tokens=10)
    two.add("ann", "gpt-5.2", input_tokens=5, output_tokens=1)
    two.add("ann", "gpt-5.1", input_tokens=1, output_tokens=1)
    one.add("bob", "gpt-5.2", input_tokens=1000, output_tokens=0)
    assert (
        one.totals()
        == two.totals()
        == [
            Use("bob", "gpt-5.2", 1, 1000, 0, 0),
            Use("ann", "gpt-5.2", 2, 105, 40, 11),
            Use("ann", "gpt-5.1", 1, 1, 0, 1),
        ]
    )


def test_totals_cover_as_many_days_as_asked(tmp_path: Path, clock: Clock) -> None:
    ledger = Ledger(tmp_path / "u.db", clock)
    for _ in range(3):
        ledger.add("ann", "m", input_tokens=1, output_tokens=1)
        clock.now += DAY
    clock.now -= DAY
    assert [ledger.totals(days)[0].turns for days in (1, 2, 7)] == [1, 2, 3]


def test_use_is_forgotten_after_a_year_and_a_bit(tmp_path: Path, clock: Clock) -> None:
    ledger = Ledger(tmp_path / "u.db", clock)
    ledger.add("ann", "m", input_tokens=1, output_tokens=1)
    clock.now += (KEPT_DAYS + 2) * DAY
    ledger.add("ann", "m", input_tokens=1, output_tokens=1)
    assert ledger.totals(10_000)[0].turns == 1


def test_nothing_used_is_an_empty_list(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "u.db").totals(30) == []
