"""Stored responses in SQLite and, for the same contract, in memory."""

import os
import random
import signal
import sqlite3
import stat
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codexproxy.storage.base import Limits, ResponseStore, Stored
from codexproxy.storage.sqlite.database import Database
from codexproxy.storage.sqlite.response_tables import OWNERS, SCHEMA, SHARES
from codexproxy.storage.sqlite.responses import SqliteResponseStore
from tests.contracts.response_stores import Clock, Make, ResponseStoreContract, message, stored
from tests.fakes.responses import MemoryResponseStore
from tests.patience import patient


def open_store(folder: Path, limits: Limits = Limits(), clock: Clock | None = None) -> SqliteResponseStore:
    return SqliteResponseStore(Database(folder / "responses.sqlite3", SCHEMA), limits, clock or time.time)


class TestInSqlite(ResponseStoreContract):
    @pytest.fixture
    def make(self, tmp_path: Path, clock: Clock) -> Make:
        return lambda limits: open_store(tmp_path, limits, clock)


class TestInMemory(ResponseStoreContract):
    @pytest.fixture
    def make(self, clock: Clock) -> Make:
        return lambda limits: MemoryResponseStore(limits, clock)


def rows(folder: Path, query: str) -> list[tuple[int, ...]]:
    connection = sqlite3.connect(folder / "responses.sqlite3")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def measured(folder: Path) -> tuple[int, int]:
    """Responses and bytes as they really are."""
    (count,) = rows(folder, "SELECT count(*) FROM responses")[0]
    sizes = (
        "SELECT length(body) FROM responses",
        "SELECT length(body) FROM contents",
        "SELECT length(frame) FROM events",
    )
    return count, sum(size for query in sizes for (size,) in rows(folder, query))


def shares(folder: Path) -> dict[str, tuple[int, int]]:
    """Responses and bytes by owner, as they really are."""
    found: dict[str, tuple[int, int]] = {}
    for owner in ("ann", "bob"):
        (count,) = rows(folder, f"SELECT count(*) FROM responses WHERE owner = '{owner}'")[0]
        sizes = (
            f"SELECT length(body) FROM responses WHERE owner = '{owner}'",
            f"SELECT length(body) FROM contents c JOIN content_owners o ON o.hash = c.hash WHERE o.owner = '{owner}'",
            f"SELECT length(frame) FROM events e JOIN responses r ON r.row = e.row WHERE r.owner = '{owner}'",
        )
        found[owner] = count, sum(size for query in sizes for (size,) in rows(folder, query))
    return found


def test_it_survives_a_restart_and_is_private(tmp_path: Path):
    open_store(tmp_path).save(stored("r1"))
    assert open_store(tmp_path).get("ann", "r1") == stored("r1").response
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("responses.sqlite3*")}
    assert modes == {0o600}


def test_what_is_resent_is_kept_once(tmp_path: Path):
    store = open_store(tmp_path)
    picture = "x" * 100_000
    for number in range(20):
        item = {**message("", picture, "user"), "id": f"msg_{number}"}
        store.save(Stored("ann", {"id": f"r{number}", "status": "completed", "output": []}, [item]))
    assert measured(tmp_path)[1] < 120_000
    for number in range(20):
        store.delete("ann", f"r{number}")
    assert measured(tmp_path) == (0, 0)


@pytest.mark.parametrize("seed", range(4))
def test_the_totals_are_true_whatever_happens(tmp_path: Path, seed: int):
    chance, clock = random.Random(seed), Clock()
    store = open_store(tmp_path, Limits(max_responses=15, max_bytes=12_000, max_age=50, log_age=20), clock)
    ids = [f"r{number}" for number in range(25)]
    for _ in range(300):
        clock.now += chance.random() * 4
        id, owner, text = (
            chance.choice(ids),
            chance.choice(["ann", "bob"]),
            chance.choice("abc") * chance.randrange(2000),
        )
        action = chance.randrange(6)
        if action == 0:
            store.delete(owner, id)
        elif action == 1:
            store.begin(stored(id, owner=owner, text=text, status="in_progress"))
        elif action == 2:
            store.advance(owner, id, [(chance.randrange(9), text.encode())])
        elif action == 3:
            store.finish(owner, id, dict(stored(id, text=text).response))
        else:
            store.save(stored(id, owner=owner, text=text, previous=chance.choice([None, *ids])))
        if chance.random() < 0.05:
            store.sweep()
    assert rows(tmp_path, "SELECT * FROM totals") == [measured(tmp_path)]
    kept = {owner: sizes for owner, *sizes in rows(tmp_path, "SELECT owner, responses, bytes FROM shares")}
    assert {owner: tuple(sizes) for owner, sizes in kept.items()} == shares(tmp_path)
    assert tuple(map(sum, zip(*shares(tmp_path).values(), strict=True))) == measured(tmp_path)
    store.save(stored("last"))
    count, size = measured(tmp_path)
    assert count <= 15 and size <= 12_000
    assert rows(tmp_path, "SELECT count(*) FROM items WHERE row NOT IN (SELECT row FROM responses)") == [(0,)]
    assert rows(tmp_path, "SELECT count(*) FROM contents WHERE hash NOT IN (SELECT content FROM items)") == [(0,)]
    assert rows(tmp_path, "SELECT count(*) FROM threads WHERE id NOT IN (SELECT thread FROM responses)") == [(0,)]


def test_logs_of_finished_responses_are_dropped_after_a_while(tmp_path: Path):
    clock = Clock()
    store = open_store(tmp_path, Limits(log_age=100), clock)
    store.begin(stored("r1", status="in_progress"))
    store.finish("ann", "r1", dict(stored("r1").response), [(0, b"frame")])
    store.sweep()
    excerpt = store.log("ann", "r1")
    assert excerpt and excerpt.frames == [(0, b"frame")]
    clock.now += 101
    store.sweep()
    excerpt = store.log("ann", "r1")
    assert excerpt and excerpt.frames == [] and excerpt.is_last
    assert store.get("ann", "r1")


def test_ten_thousand_responses_stay_within_the_bound_and_are_found_quickly(tmp_path: Path):
    store = open_store(tmp_path, Limits(max_responses=10_000))
    for number in range(10_200):
        store.save(stored(f"r{number}", text=f"answer {number}" * 20))
    assert rows(tmp_path, "SELECT responses FROM totals") == [(10_000,)]
    took = {"get": [], "history": [], "items": []}
    for number in random.Random(1).sample(range(200, 10_200), 300):
        for name, look in (
            ("get", lambda id: store.get("ann", id)),
            ("history", lambda id: store.history("ann", id)),
            ("items", lambda id: store.items("ann", [f"msg_{id}"])),
        ):
            start = time.thread_time()
            assert look(f"r{number}")
            took[name].append(time.thread_time() - start)
    for name, times in took.items():
        assert statistics.median(times) < 0.010, name


def test_a_long_conversation_is_read_quickly(tmp_path: Path):
    store = open_store(tmp_path)
    for number in range(300):
        store.save(stored(f"r{number}", previous=f"r{number - 1}" if number else None))
    start = time.thread_time()
    found = store.history("ann", "r299")
    assert time.thread_time() - start < 0.25
    assert found and len(found.input) == 599 and found.lost is None


WRITER = """
import sys
from pathlib import Path
from tests.contracts.response_stores import stored
from tests.storage.test_responses import open_store

store, name = open_store(Path(sys.argv[1])), sys.argv[2]
for number in range(60):
    store.save(stored(f"{name}{number}", previous=f"{name}{number - 1}" if number else None))
print("done", flush=True)
"""

MAKER = """
import sys, time
from pathlib import Path
from codexproxy.storage.base import Limits
from tests.contracts.response_stores import stored
from tests.storage.test_responses import open_store

store = open_store(Path(sys.argv[1]), Limits(lease=0.5))
store.begin(stored("r1", status="in_progress"))
number = 0
while True:
    store.advance("ann", "r1", [(number, b"frame")])
    number += 1
    print("alive", flush=True)
    time.sleep(0.05)
"""


def python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    root = str(Path(__file__).resolve().parents[2])
    environ = {**os.environ, "PYTHONPATH": root}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, env=environ, cwd=root
    )


def test_four_processes_write_at_once_and_nothing_is_lost(tmp_path: Path):
    writers = [python(WRITER, str(tmp_path), name) for name in "abcd"]
    for writer in writers:
        output, _ = writer.communicate(timeout=patient(60))
        assert output == "done\n"
    store = open_store(tmp_path)
    for name in "abcd":
        found = store.history("ann", f"{name}59")
        assert found and len(found.input) == 119 and found.lost is None
    assert rows(tmp_path, "SELECT * FROM totals") == [measured(tmp_path)]


def test_a_killed_maker_leaves_a_failed_response(tmp_path: Path):
    maker = python(MAKER, str(tmp_path))
    assert maker.stdout is not None
    try:
        assert maker.stdout.readline() == "alive\n"
        store = open_store(tmp_path)
        assert status(store) == "in_progress"
    finally:
        maker.send_signal(signal.SIGKILL)
        maker.wait()
        maker.stdout.close()
    deadline = time.monotonic() + patient(10)
    while status(store) == "in_progress" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert status(store) == "failed"
    assert (store.get("ann", "r1") or {})["error"]["code"] == "server_error"


def status(store: ResponseStore) -> str:
    return (store.get("ann", "r1") or {"status": "absent"})["status"]


@pytest.mark.parametrize("limits", [Limits(max_bytes=200_000), Limits(max_responses=60)])
def test_the_largest_owner_loses_first_and_the_total_stays_bounded(tmp_path: Path, limits: Limits):
    clock = Clock()
    store = open_store(tmp_path, limits, clock)
    for number in range(20):
        clock.now += 1
        store.save(stored(f"b{number}", owner="bob", text=f"{number} " + "b" * 2000))
    for number in range(300):
        clock.now += 1
        store.save(stored(f"a{number}", text=f"{number} " + "a" * 2000))
        count, size = measured(tmp_path)
        assert count <= limits.max_responses and size <= limits.max_bytes
    assert all(store.get("bob", f"b{number}") for number in range(20))
    assert store.get("ann", "a299") and not store.get("ann", "a0")


def test_owners_share_what_is_there_when_all_keep_much(tmp_path: Path):
    store = open_store(tmp_path, Limits(max_responses=100))
    for number in range(200):
        for owner in ("ann", "bob"):
            store.save(stored(f"{owner}{number}", owner=owner, text=f"{owner} {number}"))
    assert {owner: count for owner, (count, _) in shares(tmp_path).items()} == {"ann": 50, "bob": 50}


def test_a_content_that_two_owners_keep_is_each_ones_own(tmp_path: Path):
    store = open_store(tmp_path)
    for owner in ("ann", "bob"):
        store.save(stored("r1", owner=owner, text="the same " * 500))
    assert shares(tmp_path)["ann"] == shares(tmp_path)["bob"]
    store.delete("ann", "r1")
    assert shares(tmp_path)["ann"] == (0, 0)
    assert store.get("bob", "r1") == stored("r1", owner="bob", text="the same " * 500).response


OLDER = SCHEMA[: len(SCHEMA) - len(OWNERS) - len(SHARES)]


def write_as_older(connection: sqlite3.Connection, row: int, owner: str, body: bytes) -> None:
    """Keeps a response as version 0.1 does."""
    connection.execute("INSERT INTO threads (touched) VALUES (?)", (Clock().now,))
    (thread,) = connection.execute("SELECT last_insert_rowid()").fetchone()
    connection.execute(
        "INSERT INTO responses (row, owner, id, thread, finished, body) VALUES (?, ?, ?, ?, 1, ?)",
        (row, owner, f"r{row}", thread, b'{"id":"r","status":"completed"}'),
    )
    connection.execute("INSERT OR IGNORE INTO contents VALUES (?, ?)", (b"hash %d" % row, body))
    connection.execute("INSERT INTO items VALUES (?, ?, ?, ?, ?)", (row, 1, 0, "msg", b"hash %d" % row))
    connection.execute("INSERT OR IGNORE INTO events (row, number, frame) VALUES (?, ?, ?)", (row, 0, b"frame"))


def make_older(path: Path, size: int = 1) -> None:
    """Makes a store of version 0.1 with three responses of two owners."""
    connection = sqlite3.connect(path)
    for statement in OLDER:
        connection.execute(statement)
    for row, owner in enumerate(("ann", "bob", "bob"), start=1):
        write_as_older(connection, row, owner, b'{"type":"message"%b}' % (b" " * row * size))
    connection.execute(f"PRAGMA user_version={len(OLDER)}")
    connection.commit()
    connection.close()


def test_a_store_of_an_older_version_is_divided_among_its_owners(tmp_path: Path):
    make_older(tmp_path / "responses.sqlite3")
    store = open_store(tmp_path, Limits(), Clock())
    store.save(stored("r9", owner="bob"))
    kept = {owner: tuple(sizes) for owner, *sizes in rows(tmp_path, "SELECT owner, responses, bytes FROM shares")}
    assert kept == shares(tmp_path)
    assert kept["ann"][0] == 1 and kept["bob"][0] == 3
    assert rows(tmp_path, "SELECT DISTINCT owner FROM threads ORDER BY owner") == [("ann",), ("bob",)]  # type: ignore[comparison-overlap]
    assert store.delete("bob", "r9")
    assert store.delete("ann", "r1")
    kept = {owner: tuple(sizes) for owner, *sizes in rows(tmp_path, "SELECT owner, responses, bytes FROM shares")}
    assert kept == shares(tmp_path)


def test_an_older_version_still_keeps_responses_in_a_store_that_was_upgraded(tmp_path: Path):
    make_older(tmp_path / "responses.sqlite3")
    store = open_store(tmp_path, Limits(max_responses=2), Clock())
    store.save(stored("r9", owner="bob"))
    with sqlite3.connect(tmp_path / "responses.sqlite3") as older:
        for row in range(20, 24):
            write_as_older(older, row, "ann", b'{"type":"message"}')
    older.close()
    assert store.get("ann", "r23")
    # What it kept is counted, and can be forgotten.
    kept = {owner: tuple(sizes) for owner, *sizes in rows(tmp_path, "SELECT owner, responses, bytes FROM shares")}
    assert kept == shares(tmp_path) and kept["ann"][0] >= 4
    store.sweep()
    assert rows(tmp_path, "SELECT count(*) FROM responses") == [(2,)]


def test_upgrading_a_store_writes_nothing_again_that_is_large(tmp_path: Path):
    make_older(tmp_path / "responses.sqlite3", size=2_000_000)
    store = open_store(tmp_path)
    assert store.get("ann", "r1")
    assert (tmp_path / "responses.sqlite3-wal").stat().st_size < 1_000_000
