"""A conversation keeps its id, whichever process is asked."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from codexproxy.state.conversations import Conversations, uuid7


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


def test_without_a_usable_file_the_start_is_the_id(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert Conversations(blocked / "conversations.sqlite3").id_of("start") == "start"
