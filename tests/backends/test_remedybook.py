"""What one process learned of upstream, all know, for a day."""

from pathlib import Path

from codexproxy.backends.remedybook import LASTS, LOOK_EVERY, RemedyBook
from codexproxy.turns.remedies import Remedy

DROP = Remedy("drop", "service_tier")


class Clock:
    """Time that passes on command."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_remedy_is_known_to_other_processes_and_to_this_model_only(tmp_path: Path) -> None:
    clock = Clock()
    mine, theirs = (RemedyBook(tmp_path / "remedies.sqlite3", clock) for _ in range(2))
    assert theirs.known("m") == ()
    mine.learn("m", DROP)
    assert mine.known("m") == (DROP,)
    clock.now += LOOK_EVERY
    assert theirs.known("m") == (DROP,)
    assert theirs.known("other") == ()
    assert [(model, remedy) for model, remedy, _ in theirs.all()] == [("m", DROP)]


def test_a_remedy_is_forgotten_after_a_day(tmp_path: Path) -> None:
    clock = Clock()
    book = RemedyBook(tmp_path / "remedies.sqlite3", clock)
    book.learn("m", DROP)
    clock.now += LASTS
    assert book.known("m") == ()


def test_a_folder_that_cannot_be_written_costs_nothing_but_memory(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    book = RemedyBook(blocked / "remedies.sqlite3", Clock())
    book.learn("m", DROP)
    assert book.known("m") == (DROP,)
