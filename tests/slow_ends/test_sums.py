"""Sums over a full ledger, and many keys, cost the requests beside them nothing."""

import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import gevent
import pytest

from codexproxy.access.keys import KeyRing, hash_key
from codexproxy.errors import AuthenticationFailed
from codexproxy.settings import User
from codexproxy.storage.sqlite.ledger import DIMENSIONS, KeySums, Ledger, TurnRecord

DAY = 86_400.0


def row(at: float, key: str, model: str, client: str, tokens: int, code: str = "") -> TurnRecord:
    return TurnRecord(at, key, client, "chat", model, "", "main", 200, code, tokens, 1, 2, 0, 5, 9, "")


def ledger_of(path: Path, count: int) -> None:
    names = [f"key-{number % 7}" for number in range(count)]
    ledger = Ledger(path)
    ledger.add(row(number, name, f"m{number % 3}", f"c{number % 2}", 10) for number, name in enumerate(names))
    ledger.close()


def test_streams_go_on_while_a_ledger_is_summed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    ledger_of(path, 60_000)
    turns: list[float] = []

    def another() -> None:
        while True:
            turns.append(time.monotonic())
            gevent.sleep(0.001)

    beside = gevent.spawn(another)
    gevent.sleep(0)
    before = len(turns)
    uses = KeySums(path).since(0.0)
    beside.kill()
    assert sum(use.turns for use in uses) == 60_000
    # In the event loop it would have had none.
    assert len(turns) - before > 5


def test_a_sum_that_took_long_is_told_again_for_a_while(tmp_path: Path) -> None:
    path, now = tmp_path / "ledger.sqlite3", [0.0]

    def clock() -> float:
        now[0] += 1.0  # so that each walk takes a second
        return now[0]

    sums = KeySums(path, clock)
    assert sums.since(0.0) == [] and not path.exists()
    ledger_of(path, 10)
    assert sums.since(0.0) == []
    assert len(sums.since(-1000.0)) > 0  # another moment is another sum
    assert sums.since(0.0) == []  # and the first is still kept
    now[0] += 20.0
    assert sum(use.turns for use in sums.since(-1000.0)) == 10


def test_a_sum_since_a_later_moment_never_tells_what_came_before_it(tmp_path: Path) -> None:
    path, now = tmp_path / "ledger.sqlite3", [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    ledger_of(path, 10)
    sums = KeySums(path, clock)
    assert sum(use.turns for use in sums.since(0.0)) == 10
    assert sum(use.turns for use in sums.since(8.5)) == 1
    assert sums.since(9.5) == []


def test_no_more_than_a_hundred_sums_are_kept(tmp_path: Path) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    path = tmp_path / "ledger.sqlite3"
    sums = KeySums(path, clock)
    for moment in range(102):
        assert sums.since(float(moment)) == []
    ledger_of(path, 10)
    assert sums.since(101.0) == [] and sum(use.turns for use in sums.since(0.0)) == 10


def test_a_sum_that_was_given_up_does_not_stand_in_the_way_of_the_next(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    ledger_of(path, 60_000)
    sums = KeySums(path)
    first = gevent.spawn(sums.since, 0.0)
    gevent.sleep(0.001)
    first.kill()
    assert sum(use.turns for use in sums.since(0.0)) == 60_000


def test_all_tables_come_from_one_walk_and_say_what_single_ones_say(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    days = [0.0, DAY - 0.5, DAY, 20_000 * DAY + 1]
    rows = [
        row(at, key, model, client, 7, code)
        for at in days
        for key, model, client, code in [("a", "m", "x", ""), ("b", "m", "x", "bad"), ("a", "n", "y", "")]
    ]
    ledger.add(rows)
    together = ledger.used_by(list(DIMENSIONS), 0.0)
    assert together == {dimension: ledger.used(dimension, 0.0) for dimension in DIMENSIONS}
    assert [use.name for use in together["day"] if use.model == "n"] == ["1970-01-01", "1970-01-02", "2024-10-04"]
    assert [(use.name, use.model, use.turns, use.failed) for use in together["key"]] == [
        ("a", "m", 4, 0),
        ("a", "n", 4, 0),
        ("b", "m", 4, 4),
    ]
    ledger.close()


# -- keys -----------------------------------------------------------------------------------


def calls(work: Any) -> int:
    """How many functions some work calls, C's included."""
    seen: Counter[str] = Counter()
    sys.setprofile(lambda frame, event, argument: seen.update([event]))
    try:
        work()
    finally:
        sys.setprofile(None)
    return seen["call"] + seen["c_call"]


class Kept:
    """A key file that does not change."""

    def __init__(self, count: int) -> None:
        self._users = tuple(User(name=f"k{number}", api_key_hash=hash_key(f"key {number}")) for number in range(count))

    def users(self) -> tuple[User, ...]:
        return self._users


@pytest.mark.parametrize("name", ["k0", "k5"])
def test_a_key_that_opened_once_costs_the_same_among_six_as_among_a_thousand(name: str) -> None:
    found = []
    for count in (6, 1_000):
        ring = KeyRing(source=Kept(count))
        key = f"key {name[1:]}"
        assert ring.identify(key).name == name
        found.append(calls(lambda ring=ring, key=key: ring.identify(key)))
        assert ring.identify(key).name == name
    assert found[0] == found[1]


def test_a_key_longer_than_any_is_compared_with_none() -> None:
    ring = KeyRing(api_key="the owner's " * 500, source=Kept(1_000))

    def present() -> None:
        with pytest.raises(AuthenticationFailed):
            ring.identify("x" * 30_000)

    assert ring.identify("the owner's " * 500).name == "default"
    assert calls(present) < 100
