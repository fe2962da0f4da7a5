"""What a killed worker left is settled once, however often and by however many that is tried."""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from limits.storage import MemoryStorage

from codexproxy.access.authorization import Identity, KeyLimits
from codexproxy.access.rate_limits import Limiter
from codexproxy.errors import ProxyError
from codexproxy.observability.metrics import Metrics
from codexproxy.server.settlement import Settlement
from codexproxy.storage.sqlite.ledger import Ledger, TurnRecord
from codexproxy.storage.turn_journal import Account, Journal

ROW = TurnRecord(1.5, "ann", "cursor", "chat", "gpt-5.2", "high", "one", 200, "", 70, 0, 30, 0, 12, 40, "")
ANN = Account("0190-ann", 1000)
WHO = Identity("ann", id=ANN.owner, limits=KeyLimits(tokens_per_day=ANN.tokens_per_day))


class Left:
    """A folder with what a killed worker left, and those who settle it."""

    def __init__(self, folder: Path) -> None:
        self.journals = folder / "journal"
        self.ledger = folder / "ledger.sqlite3"
        storage = MemoryStorage()
        self.limiter = Limiter(storage, storage)
        self.metrics = Metrics()
        self.journal = Journal(self.journals, lambda: None)

    def kill(self) -> None:
        """Leaves the journal as a worker does that is killed."""
        assert self.journal._file is not None
        os.close(self.journal._file)

    def settle(self) -> None:
        with closing(Ledger(self.ledger)) as ledger:
            Settlement(self.journals, ledger, self.limiter, self.metrics).sweep()

    @property
    def rows(self) -> list[TurnRecord]:
        with closing(Ledger(self.ledger)) as ledger:
            return ledger.newest(99)

    @property
    def spent(self) -> int:
        standing = self.limiter.status(WHO).tokens
        assert standing is not None
        return standing.limit - standing.remaining

    @property
    def killed(self) -> float:
        return sum(
            sample.value for sample in self.metrics.errors.collect()[0].samples if sample.name.endswith("_total")
        )


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Left]:
    yield Left(tmp_path)


def test_a_turn_under_way_is_charged_written_down_and_counted(left: Left) -> None:
    left.journal.begin(ROW, ANN)
    left.journal.begin(replace(ROW, at=2.5, status=0, first_ms=None), ANN)
    left.kill()
    left.settle()
    left.settle()
    assert [(row.at, row.status, row.code) for row in left.rows] == [
        (2.5, 500, "worker_killed"),
        (1.5, 200, "worker_killed"),
    ]
    assert left.spent == 200
    assert left.killed == 2
    assert list(left.journals.iterdir()) == []


def test_a_turn_that_was_charged_or_counted_by_its_worker_is_not_again(left: Left) -> None:
    slot = left.journal.begin(ROW, ANN)
    left.journal.note(slot, ROW, charged=True)
    left.journal.end(slot, ROW)
    left.kill()
    left.settle()
    assert left.rows == [ROW]
    assert left.spent == left.killed == 0


def test_a_row_that_was_written_before_its_slot_was_free_is_not_written_again(left: Left) -> None:
    left.journal.end(None, ROW)
    left.journal.end(None, replace(ROW, key="bob"))
    left.kill()
    with closing(Ledger(left.ledger)) as ledger:
        ledger.add([ROW])
    left.settle()
    assert left.rows == [replace(ROW, key="bob"), ROW]


def test_what_the_disk_does_not_take_is_settled_later_and_charged_once(left: Left) -> None:
    left.journal.begin(ROW, ANN)
    left.kill()
    left.ledger.mkdir()
    for _ in range(2):
        with pytest.raises(ProxyError):
            left.settle()
    left.ledger.rmdir()
    left.settle()
    assert [row.code for row in left.rows] == ["worker_killed"]
    assert left.spent == 100
    assert left.killed == 1


def test_many_turns_are_settled_at_once(left: Left) -> None:
    for at in range(1200):
        left.journal.begin(replace(ROW, at=float(at)), Account())
    left.kill()
    with closing(Ledger(left.ledger)) as ledger:
        ledger.add([replace(ROW, at=1199.0), replace(ROW, at=3.0)])
    left.settle()
    with closing(Ledger(left.ledger)) as ledger:
        assert sorted(row.at for row in ledger.newest(9999)) == [float(at) for at in range(1200)]
    assert left.spent == 0
