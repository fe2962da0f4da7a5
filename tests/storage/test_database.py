import os
import signal
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from codexproxy.storage.sqlite.database import Database, DatabaseFailed
from tests.patience import patient
from tests.storage.test_lock import python

SCHEMA = ["CREATE TABLE counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL)"]
ADD = "INSERT INTO counts VALUES ('a', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"


@pytest.fixture
def database(tmp_path: Path):
    database = Database(tmp_path / "data" / "state.db", SCHEMA)
    yield database
    database.close()


def count(database: Database) -> int:
    rows = database.rows("SELECT value FROM counts WHERE name = ?", ("a",))
    return rows[0][0] if rows else 0


def add(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(ADD)


def test_what_is_written_is_read_also_by_another_opener(database: Database) -> None:
    add(database)
    other = Database(database.path, SCHEMA)
    add(other)
    assert count(database) == count(other) == 2
    other.close()


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(ValueError), database.transaction() as connection:
        connection.execute(ADD)
        raise ValueError
    assert count(database) == 0
    add(database)
    assert count(database) == 1


def test_its_files_are_private(database: Database) -> None:
    before = os.umask(0)
    try:
        add(database)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in database.path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(database.path.parent.stat().st_mode) == 0o700


def test_a_database_of_an_older_release_gets_the_new_statements_only(database: Database) -> None:
    add(database)
    database.close()
    newer = Database(database.path, [*SCHEMA, "ALTER TABLE counts ADD COLUMN note TEXT"])
    assert newer.rows("SELECT * FROM counts") == [("a", 1, None)]
    newer.close()
    assert count(database) == 1


def test_threads_of_one_process_lose_no_write(database: Database) -> None:
    threads = [threading.Thread(target=lambda: [add(database) for _ in range(25)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patient(60))
    assert count(database) == 200


WRITERS = """
    from gevent import monkey; monkey.patch_all()
    import sys, gevent
    from pathlib import Path
    from codexproxy.storage.sqlite.database import Database
    database = Database(Path(sys.argv[1]), sys.argv[2:3], timeout=60)
    def work():
        for _ in range(10):
            with database.transaction() as connection:
                connection.execute(sys.argv[3])
    sys.stdin.readline()
    greenlets = [gevent.spawn(work) for _ in range(10)]
    gevent.joinall(greenlets, raise_error=True)
"""


def test_greenlets_of_four_processes_lose_no_write(database: Database) -> None:
    workers = [python(WRITERS, database.path, SCHEMA[0], ADD) for _ in range(4)]
    for worker in workers:
        worker.stdin.write("go\n")  # type: ignore[union-attr]
        worker.stdin.flush()  # type: ignore[union-attr]
    assert [worker.wait(patient(120)) for worker in workers] == [0, 0, 0, 0]
    for worker in workers:
        worker.communicate()
    assert count(database) == 400


HOLDER = """
    import sqlite3, sys
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(sys.argv[2])
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_a_writer_elsewhere_lets_the_greenlets_of_this_process_run(database: Database) -> None:
    add(database)
    holder = python(HOLDER, database.path, ADD)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "writing\n"
    waiter = python(
        """
        from gevent import monkey; monkey.patch_all()
        import sys, gevent
        from pathlib import Path
        from codexproxy.storage.sqlite.database import Database, DatabaseFailed
        database, ticks = Database(Path(sys.argv[1]), sys.argv[2:3], timeout=0.5), 0
        def write():
            try:
                with database.transaction(): pass
            except DatabaseFailed:
                return "failed"
        def tick():
            global ticks
            while True:
                gevent.sleep(0.01)
                ticks += 1
        ticking = gevent.spawn(tick)
        waiting = [gevent.spawn(write) for _ in range(3)]
        gevent.joinall(waiting)
        print([w.value for w in waiting], ticks > 15, database.rows("SELECT value FROM counts"))
        """,
        database.path,
        SCHEMA[0],
    )
    assert waiter.communicate(timeout=patient(30))[0] == "['failed', 'failed', 'failed'] True [(1,)]\n"
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    add(database)
    assert count(database) == 2


def test_a_child_does_not_use_its_parents_connection(database: Database) -> None:
    add(database)
    pid = os.fork()
    if pid == 0:
        try:
            add(database)
            os._exit(count(database))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
    add(database)
    assert count(database) == 3


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, os.urandom(8192)])
def test_a_ruined_file_is_put_aside_and_a_new_one_begun(database: Database, content: bytes) -> None:
    database.path.parent.mkdir()
    database.path.write_bytes(content)
    add(database)
    assert count(database) == 1
    assert database.path.with_name("state.db.ruined").read_bytes() == content


def fill(database: Database) -> None:
    with database.transaction() as connection:
        connection.executemany("INSERT INTO counts VALUES (?, 1)", [("x" * 1000 + str(n),) for n in range(5000)])
    database.rows("PRAGMA wal_checkpoint(TRUNCATE)")


def ruin(path: Path, first: int) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(first)
        file.write(os.urandom(size - first))


READERS = {
    "a query": lambda database: database.rows("SELECT sum(length(name)) FROM counts"),
    "a write": lambda database: database.write(
        lambda connection: connection.execute("UPDATE counts SET value = value + 1").rowcount
    ),
}


@pytest.mark.parametrize("first", [0, 8192])
@pytest.mark.parametrize("use", READERS)
def test_a_file_ruined_while_in_use_is_put_aside_and_the_work_done_on_a_new_one(
    database: Database, use: str, first: int
) -> None:
    fill(database)
    # Another process has the file open as well; what it has in memory must not be needed.
    database.close()
    other = Database(database.path, SCHEMA)
    assert count(other) == count(database) == 0
    ruin(database.path, first)
    assert READERS[use](database) in ([(None,)], 0)
    add(other)
    add(database)
    assert count(database) == count(other) == 2
    assert database.path.with_name("state.db.ruined").exists()
    assert database.failure == ""
    other.close()


def test_a_transaction_on_a_ruined_file_fails_once_and_the_next_succeeds(database: Database) -> None:
    fill(database)
    database.close()
    count(database)
    ruin(database.path, 8192)
    with pytest.raises(DatabaseFailed, match=r"state\.db in the data folder"), database.transaction() as connection:
        connection.execute("UPDATE counts SET value = value + 1")
    assert "state.db" in database.failure
    add(database)
    assert (count(database), database.failure) == (1, "")


LOOKER = """
    import sys
    from pathlib import Path
    from codexproxy.storage.sqlite.database import Database
    database = Database(Path(sys.argv[1]), sys.argv[2:3])
    print(database.rows("SELECT value FROM counts")[0][0])
    database.close()
"""


def test_a_second_opener_in_this_process_costs_no_row_when_another_process_looks(database: Database) -> None:
    add(database)
    for expected in range(2, 5):
        second = Database(database.path, SCHEMA)
        assert count(second) == expected - 1
        second.close()
        assert python(LOOKER, database.path, SCHEMA[0]).communicate(timeout=patient(30))[0] == f"{expected - 1}\n"
        add(database)
        assert python(LOOKER, database.path, SCHEMA[0]).communicate(timeout=patient(30))[0] == f"{expected}\n"
    assert database.path.with_name("state.db-wal").exists()


def test_processes_that_make_the_file_at_the_same_time_share_one(database: Database) -> None:
    workers = [python(WRITERS, database.path, SCHEMA[0], ADD) for _ in range(3)]
    for worker in workers:
        worker.communicate("go\n", timeout=patient(120))
    assert count(database) == 300


def test_a_file_deleted_while_in_use_is_begun_anew(database: Database) -> None:
    add(database)
    for path in database.path.parent.iterdir():
        path.unlink()
    add(database)
    assert count(database) == 1
    assert database.path.exists()


def test_a_place_that_cannot_hold_it_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseFailed, match=r"state\.db in the data folder"):
        Database(tmp_path / "file" / "state.db", SCHEMA).rows("SELECT 1")


def test_a_full_database_is_a_clear_error_and_keeps_what_it_has(database: Database) -> None:
    add(database)
    with pytest.raises(DatabaseFailed, match="full"), database.transaction() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")
        connection.executemany("INSERT INTO counts VALUES (?, 1)", [("x" * 1000 + str(n),) for n in range(100)])
    assert count(database) == 1


def test_a_mistake_in_a_statement_is_no_storage_failure(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError), database.transaction() as connection:
        connection.execute("INSERT INTO counts VALUES ('a', NULL)")
