"""What one process learned of upstream, all know, for a day."""

import sqlite3
from contextlib import closing
from pathlib import Path

from codexproxy.upstream.router.fix_store import LASTS, LOOK_EVERY, MOST, Lesson, RemedyBook
from codexproxy.upstream.router.request_fixes import Remedy

DROP = Remedy("drop", "service_tier")
LESSON = Lesson("main", "m", "kind", DROP)


class Clock:
    """Time that passes on command."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_lesson_is_known_to_other_processes_for_its_provider_and_model_only(tmp_path: Path) -> None:
    clock = Clock()
    mine, theirs = (RemedyBook(tmp_path / "remedies.sqlite3", clock) for _ in range(2))
    assert theirs.known("main", "m") == ()
    mine.learn(LESSON)
    assert mine.known("main", "m") == ((DROP, "kind"),)
    clock.now += LOOK_EVERY
    assert theirs.known("main", "m") == ((DROP, "kind"),)
    assert theirs.known("main", "other") == ()
    assert theirs.known("other", "m") == ()
    assert [(model, remedy) for model, remedy, _ in theirs.all()] == [("m", DROP)]


def test_a_lesson_is_forgotten_after_a_day(tmp_path: Path) -> None:
    clock = Clock()
    book = RemedyBook(tmp_path / "remedies.sqlite3", clock)
    book.learn(LESSON)
    clock.now += LASTS
    assert book.known("main", "m") == ()


def test_a_folder_that_cannot_be_written_costs_nothing_but_memory(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    book = RemedyBook(blocked / "remedies.sqlite3", Clock())
    book.learn(LESSON)
    assert book.known("main", "m") == ((DROP, "kind"),)


def test_the_book_keeps_a_bounded_number_of_lessons_the_newest_ones(tmp_path: Path) -> None:
    clock = Clock()
    book = RemedyBook(tmp_path / "remedies.sqlite3", clock)
    for number in range(MOST + 20):
        clock.now += 1
        book.learn(LESSON._replace(kind=str(number)))
    clock.now += LOOK_EVERY
    for known in (book.known("main", "m"), RemedyBook(tmp_path / "remedies.sqlite3", clock).known("main", "m")):
        assert len(known) == MOST
        assert known[-1] == (DROP, str(MOST + 19))


def test_what_an_older_version_learned_of_all_turns_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "remedies.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE remedies (model TEXT, kind TEXT, detail TEXT, learned REAL, PRIMARY KEY (model, kind, detail))"
        )
        connection.execute("INSERT INTO remedies VALUES ('m', 'drop', 'text.verbosity', 1000000)")
        connection.execute("PRAGMA user_version=1")
        connection.commit()
    book = RemedyBook(path, Clock())
    assert book.all() == []
    book.learn(LESSON)
    assert book.all() == [("m", DROP, 1_000_000.0)]
