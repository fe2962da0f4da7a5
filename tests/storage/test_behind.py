"""Rows are written behind the request's back, and only a lasting failure costs any."""

import logging
import threading
from collections.abc import Sequence

import gevent
import pytest

from codexproxy.storage.sqlite.database import DatabaseFailed
from codexproxy.storage.write_behind import WriteBehind


class Store:
    """Keeps the batches it was given; refuses while ``broken``."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.broken = False

    def write(self, rows: Sequence[int]) -> None:
        self.threads.add(threading.get_ident())
        if "poison" in rows:
            raise OverflowError("Python int too large to convert to SQLite INTEGER")
        if self.broken:
            raise DatabaseFailed("the disk is full")
        self.batches.append(list(rows))

    @property
    def rows(self) -> list[int]:
        return [row for batch in self.batches for row in batch]


def wait_for(store: Store, rows: list[int]) -> None:
    with gevent.Timeout(5):
        while store.rows != rows:
            gevent.sleep(0.01)


def test_rows_that_come_together_are_one_batch_written_elsewhere() -> None:
    store = Store()
    behind = WriteBehind(store.write, "rows", gather=0.05)
    for number in range(100):
        behind.add(number)
    wait_for(store, list(range(100)))
    assert len(store.batches) == 1
    assert threading.get_ident() not in store.threads
    behind.add(100)
    wait_for(store, list(range(101)))


def test_the_end_writes_what_waits() -> None:
    store = Store()
    behind = WriteBehind(store.write, "rows", gather=60)
    behind.add(1)
    behind.close()
    assert store.rows == [1]
    behind.close()
    assert store.rows == [1]


def test_after_a_failure_rows_are_written_in_order_once(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.broken = True
    behind = WriteBehind(store.write, "rows", gather=0.01, pause=0.05)
    with caplog.at_level(logging.WARNING):
        behind.add(1)
        gevent.sleep(0.1)
        behind.add(2)
    assert "the disk is full" in caplog.text
    store.broken = False
    wait_for(store, [1, 2])


@pytest.mark.parametrize("place", [0, 3, 6])
def test_a_row_that_cannot_be_written_costs_no_other_and_does_not_end_the_writing(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], place: int
) -> None:
    store = Store()
    behind = WriteBehind(store.write, "rows", gather=0.01, pause=0.05)
    rows: list[object] = [1, 2, 3, 4, 5, 6]
    with caplog.at_level(logging.ERROR):
        for row in [*rows[:place], "poison", *rows[place:]]:
            behind.add(row)  # type: ignore[arg-type]
        wait_for(store, [1, 2, 3, 4, 5, 6])
        behind.add(7)
        wait_for(store, [1, 2, 3, 4, 5, 6, 7])
    assert caplog.text.count("one of rows was dropped") == 1
    assert "Traceback" not in capfd.readouterr().err
    behind.add("poison")  # type: ignore[arg-type]
    behind.add(8)
    behind.close()
    assert store.rows[-1] == 8


def test_too_many_waiting_rows_cost_the_oldest_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    behind = WriteBehind(store.write, "rows", gather=60, most=3)
    with caplog.at_level(logging.WARNING):
        for number in range(5):
            behind.add(number)
        behind.close()
    assert store.rows == [2, 3, 4]
    assert "2 of rows were lost" in caplog.text
