"""Connections to SQLite files: opened and upgraded, patient while others write, with logs that do not grow."""

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

T = TypeVar("T")

FIRST_SLEEP = 0.002
LONGEST_SLEEP = 0.05
# Bytes of a write-ahead log from which on it is written back into the database; SQLite's own bound.
LONG_LOG = 4 * 2**20

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class Aside(Protocol):
    """Does work and waits for it, maybe in another thread."""

    def __call__(self, work: Callable[[], T]) -> T:
        """What the work returns."""


def at_once(work: Callable[[], T]) -> T:
    """Does work right here."""
    return work()


def patiently(work: Callable[[], T], deadline: float, sleep: Callable[[float], None] | None = None) -> T:
    """What work returns that is tried again while another connection writes.

    Args:
        work: Uses a database.
        deadline: Until when, in monotonic seconds.
        sleep: Waits that many seconds; lets other greenlets run.

    Raises:
        sqlite3.DatabaseError: As the work does.
    """
    pause = FIRST_SLEEP
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if code_of(error) not in _BUSY or time.monotonic() >= deadline:
                raise
        (sleep or time.sleep)(pause)
        pause = min(pause * 2, LONGEST_SLEEP)


def connect(path: Path, schema: Sequence[str], patiently: Aside, *, owns_log: bool) -> sqlite3.Connection:
    """A connection to a file that exists, brought up to the schema.

    Args:
        path: The file.
        schema: SQL statements, one each, of which the file has seen the first few.
        patiently: Tries again what another connection is in the way of.
        owns_log: Whether ``shorten_log`` is called after each transaction, so that SQLite need not do it.
    """
    # Never made by SQLite, which would give it the mode of the umask.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        patiently(lambda: connection.execute("PRAGMA journal_mode=WAL").fetchone())
        connection.execute("PRAGMA synchronous=NORMAL")
        if owns_log:
            connection.execute("PRAGMA wal_autocheckpoint=0")
            # A log that was written back begins anew with the next transaction, so that its size tells.
            connection.execute("PRAGMA journal_size_limit=0")
        _upgrade(connection, schema, patiently)
    except BaseException:
        connection.close()
        raise
    return connection


def _upgrade(connection: sqlite3.Connection, schema: Sequence[str], patiently: Aside) -> None:
    if patiently(lambda: _version(connection)) >= len(schema):
        return
    patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
    for statement in schema[_version(connection) :]:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version={len(schema)}")
    patiently(connection.commit)


def shorten_log(path: Path, connection: sqlite3.Connection, aside: Aside) -> None:
    """Writes a log that has become long back into its database, as far as nobody reads it.

    SQLite does so within whichever commit finds the log too long, for as long as the disk takes.
    """
    try:
        size = os.stat(f"{path}-wal").st_size
    except OSError:
        return  # what removed it has shortened it
    if size > LONG_LOG:
        # All of it is committed, and the next transaction tries again.
        with suppress(sqlite3.OperationalError):
            aside(lambda: connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone())


def code_of(error: sqlite3.Error) -> int:
    """The kind of a failure; errors of Python's own have none."""
    # The low byte is the kind, the rest its variety.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
