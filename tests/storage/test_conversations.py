"""A conversation keeps its id, whichever process is asked."""

import sqlite3
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from codexproxy.storage.conversations import LASTS, Conversations, uuid7


def test_all_processes_give_a_conversation_the_same_id(tmp_path: Path) -> None:
    path = tmp_path / "conversations.sqlite3"
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: Conversations(path).id_of("start"), range(16)))
    assert len(ids) == 1
    assert Conversations(path).id_of("start") in ids
    assert Conversations(path).id_of("other") not in ids


def test_an_id_is_a_version_7_uuid_of_its_moment() -> None:
    made = uuid.UUID(uuid7(1_700_000_000.5))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == 1_700_000_000_500
    assert uuid7(1.0) != uuid7(1.0)


def test_those_continued_last_are_kept_up_to_a_number_and_a_time(tmp_path: Path) -> None:
    path, now = tmp_path / "conversations.sqlite3", 1_000_000.0

    def begin(names: list[str]) -> None:
        nonlocal now
        some = Conversations(path, lambda: now, most=700)
        for name in names:
            now += 1
            some.id_of(name)

    begin([f"early {number}" for number in range(1_000)])
    kept = rows(path)
    assert len(kept) == 700 and "early 999" in kept and "early 100" not in kept
    begin(["early 300"])
    begin([f"late {number}" for number in range(500)])
    kept = rows(path)
    assert len(kept) == 700 and "early 300" in kept and "early 301" not in kept
    now += LASTS
    begin([f"much later {number}" for number in range(500)])
    assert len(rows(path)) == 500


def rows(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {start for (start,) in connection.execute("SELECT start FROM conversations")}


def test_without_a_usable_file_the_start_is_the_id(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert Conversations(blocked / "conversations.sqlite3").id_of("start") == "start"
