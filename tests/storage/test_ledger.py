"""Every turn leaves one row, bounded, told by day, model, key and client."""

from dataclasses import replace
from pathlib import Path

from codexproxy.storage.sqlite.ledger import DIMENSIONS, Ledger, TurnRecord, Use

NOON = 1_795_262_400.0
DAY = 86_400.0
ROW = TurnRecord(
    at=NOON,
    key="ann",
    client="cursor",
    dialect="chat",
    model="gpt-5.2",
    effort="high",
    backend="default",
    status=200,
    code="",
    input_tokens=100,
    cached_tokens=40,
    output_tokens=10,
    reasoning_tokens=4,
    first_ms=12,
    total_ms=345,
    adapted="reasoning.effort:low->medium",
)


def test_a_row_comes_back_as_it_was(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    other = replace(ROW, first_ms=None, status=499)
    ledger.add([ROW])
    ledger.add([other])
    assert ledger.newest(10) == [other, ROW]


def test_rows_of_several_openers_are_added_up_by_each_dimension(tmp_path: Path) -> None:
    one, two = Ledger(tmp_path / "ledger.sqlite3"), Ledger(tmp_path / "ledger.sqlite3")
    one.add([ROW, replace(ROW, at=NOON - DAY)])
    two.add([replace(ROW, key="bob", client="aider", status=502, code="upstream_unavailable")])
    found = {name: [(use.name, use.turns, use.failed) for use in one.used(name, 0)] for name in DIMENSIONS}
    assert found == {
        "day": [("2026-11-20", 1, 0), ("2026-11-21", 2, 1)],
        "model": [("gpt-5.2", 3, 1)],
        "key": [("ann", 2, 0), ("bob", 1, 1)],
        "client": [("aider", 1, 1), ("cursor", 2, 0)],
    }
    assert one.used("key", NOON - 1) == [
        Use("ann", "gpt-5.2", 1, 0, 100, 40, 10),
        Use("bob", "gpt-5.2", 1, 1, 100, 40, 10),
    ]


def test_a_stream_that_failed_after_its_head_counts_as_failed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    ledger.add([replace(ROW, code="upstream_truncated")])
    assert ledger.used("model", 0)[0].failed == 1


def test_the_oldest_rows_give_way(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite3", keep=5)
    for number in range(4):
        ledger.add([replace(ROW, total_ms=10 * number + more) for more in range(3)])
    assert [row.total_ms for row in ledger.newest(100)] == [32, 31, 30, 22, 21]
