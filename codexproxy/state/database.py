"""Small SQLite databases that all processes of a host share.

SQLite's own waiting stops every greenlet of a worker, and two greenlets that
wait for each other's transaction would wait forever. So the members of one
process queue at a lock first, the busy timeout is 0, and a database that
another process is writing is tried again after a short sleep.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from codexproxy.errors import ProxyError
from codexproxy.state.lock import HostLock, LockTimeout, ProcessLock

T = TypeVar("T")

TIMEOUT = 10.0
# For what a turn can do without, and therefore must not wait for long.
BRIEFLY = 1.0
FIRST_SLEEP = 0.002
LONGEST_SLEEP = 0.05

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_RUINED = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_COMPANIONS = ("", "-wal", "-shm", "-journal")
_ABANDONED: list[sqlite3.Connection] = []


class DatabaseFailed(ProxyError):
    """A database of ours cannot be used: disk full, read-only, busy for too long."""

    code = "storage_failed"


class Database:
    """One database file of the data folder, mode 0600, opened at first use.

    What it holds can be lost without harm: a ruined file is put aside as
    ``NAME.ruined`` and a new one begun.

    Args:
        path: The file.
        schema: SQL statements, one each, in the order they were invented; a database that
            has seen the first few gets the rest. Never change one that was released.
        timeout: Seconds to wait for others.
        sleep: Waits that many seconds; lets other greenlets run.
    """

    def __init__(
        self,
        path: Path,
        schema: Sequence[str],
        *,
        timeout: float = TIMEOUT,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.path = path
        self._schema = tuple(schema)
        self._timeout = timeout
        self._sleep = sleep
        self._queue = ProcessLock()
        self._opened: tuple[tuple[int, ...], sqlite3.Connection] | None = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction that may write; undone when the block raises.

        Do nothing in the block that may wait: everybody else waits meanwhile.

        Raises:
            DatabaseFailed: The file cannot be used.
        """
        with self._connection() as (connection, deadline):
            self._patiently(lambda: connection.execute("BEGIN IMMEDIATE"), deadline)
            try:
                yield connection
                self._patiently(connection.commit, deadline)
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.rollback()
                raise

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of one query.

        Raises:
            DatabaseFailed: The file cannot be used.
        """
        with self._connection() as (connection, deadline):
            return self._patiently(lambda: connection.execute(sql, parameters).fetchall(), deadline)

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        if self._opened is not None:
            self._opened[1].close()
            self._opened = None

    @contextmanager
    def _connection(self) -> Iterator[tuple[sqlite3.Connection, float]]:
        deadline = time.monotonic() + self._timeout
        try:
            with self._queue.held(self._timeout, self.path.name):
                yield self._open(deadline), deadline
        except LockTimeout as error:
            raise DatabaseFailed(str(error)) from None
        except (sqlite3.DatabaseError, OSError) as error:
            if isinstance(error, sqlite3.DatabaseError) and not _is_of_the_file(error):
                raise
            raise DatabaseFailed(f"{self.path.name} in the data folder cannot be used: {error}.") from error

    def _open(self, deadline: float) -> sqlite3.Connection:
        """The connection of this process to the file that is there now."""
        if self._opened is not None and self._opened[0] == self._identity():
            return self._opened[1]
        self._forget()
        try:
            connection = self._connect(deadline)
        except sqlite3.DatabaseError as error:
            if _code(error) not in _RUINED:
                raise
            self._put_aside()
            connection = self._connect(deadline)
        self._opened = (self._identity(), connection)
        return connection

    def _identity(self) -> tuple[int, ...]:
        # Neither a connection from before a fork nor one to a deleted file may be used.
        try:
            status = self.path.stat()
        except OSError:
            return (os.getpid(),)
        return os.getpid(), status.st_dev, status.st_ino

    def _forget(self) -> None:
        if self._opened is None:
            return
        (pid, *_), connection = self._opened
        if pid == os.getpid():
            connection.close()
        else:
            # SQLite forbids even closing a parent's connection, so it is kept from being collected.
            _ABANDONED.append(connection)
        self._opened = None

    def _connect(self, deadline: float) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._patiently(lambda: connection.execute("PRAGMA journal_mode=WAL").fetchone(), deadline)
            connection.execute("PRAGMA synchronous=NORMAL")
            self._upgrade(connection, deadline)
        except BaseException:
            connection.close()
            raise
        return connection

    def _upgrade(self, connection: sqlite3.Connection, deadline: float) -> None:
        if self._patiently(lambda: _version(connection), deadline) >= len(self._schema):
            return
        self._patiently(lambda: connection.execute("BEGIN IMMEDIATE"), deadline)
        for statement in self._schema[_version(connection) :]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={len(self._schema)}")
        self._patiently(connection.commit, deadline)

    def _put_aside(self) -> None:
        with HostLock(self.path.with_name(self.path.name + ".lock")).held(self._timeout):
            if not self._is_ruined():
                return  # another process has just done it
            for companion in _COMPANIONS:
                with suppress(FileNotFoundError):
                    os.replace(f"{self.path}{companion}", f"{self.path}{companion}.ruined")

    def _is_ruined(self) -> bool:
        try:
            connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
            try:
                connection.execute("PRAGMA schema_version").fetchone()
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            return _code(error) in _RUINED
        return False

    def _patiently(self, work: Callable[[], T], deadline: float) -> T:
        pause = FIRST_SLEEP
        while True:
            try:
                return work()
            except sqlite3.OperationalError as error:
                if _code(error) not in _BUSY or time.monotonic() >= deadline:
                    raise
            (self._sleep or time.sleep)(pause)
            pause = min(pause * 2, LONGEST_SLEEP)


def _is_of_the_file(error: sqlite3.DatabaseError) -> bool:
    # Anything else, such as a broken constraint, is a bug of ours.
    return isinstance(error, sqlite3.OperationalError) or _code(error) in _RUINED


def _code(error: sqlite3.Error) -> int:
    # The low byte is the kind, the rest its variety; errors of Python's own have none.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
