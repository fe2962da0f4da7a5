"""Small SQLite databases that all processes of a host share.

SQLite's own waiting stops every greenlet of a worker, and two greenlets that
wait for each other's transaction would wait forever. So the members of one process
queue first, and a database that another process is writing is tried again.

Nobody but SQLite opens such a file or its companions: closing any descriptor
of a file drops all POSIX locks the process holds on it, those of its open
connections included. The next process would then believe to be alone, remove
the write-ahead log, and with it rows that were committed. What is needed
besides is done by name: making the file (an empty one of mode 0600 is moved
into its place), asking whether it is still the same, putting it aside.
"""

import logging
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

from codexproxy.errors import ProxyError
from codexproxy.storage.atomic_file import make_private_folder
from codexproxy.storage.files.locks import HostLock, LockTimeout, ProcessLock

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


TIMEOUT = 10.0
# For what a turn can do without, and therefore must not wait for long.
BRIEFLY = 1.0
# Files that are opened before it is said that something replaces or ruins them all the time.
ATTEMPTS = 3

_RUINED = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
# A new connection may fare better: the file was moved, cut or replaced under the old one.
_STALE = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
# The file itself goes first: SQLite drops a log it finds next to an empty database.
_COMPANIONS = ("", "-wal", "-shm", "-journal")
# Held by whoever makes a database of the folder or puts one aside.
LOCK_FILE = "databases.lock"
_ABANDONED: list[sqlite3.Connection] = []
_KNOWN: "WeakSet[Database]" = WeakSet()

log = logging.getLogger(__name__)


class DatabaseFailed(ProxyError):
    """A database of ours cannot be used: disk full, read-only, busy for too long."""

    code = "storage_failed"


class ConnectionLost(DatabaseFailed):
    """The connection or the whole file was given up; what failed may be tried once more."""


class Database:
    """One database file of the data folder, mode 0600, opened at first use.

    What it holds can be lost without harm: a ruined file is put aside as
    ``NAME.ruined`` and a new one begun, also while it is in use.

    Args:
        path: The file.
        schema: SQL statements, one each, in the order they were invented; a database that
            has seen the first few gets the rest. Never change one that was released.
        timeout: Seconds to wait for others.
        sleep: Waits that many seconds; lets other greenlets run.
        aside: Does large work in another thread and waits for it. Logs are written back so, too, instead of
            within whichever commit finds them too long.

    Attributes:
        path: The file.
        failure: What the last use failed with, ``""`` when it went well.
    """

    def __init__(
        self,
        path: Path,
        schema: Sequence[str],
        *,
        timeout: float = TIMEOUT,
        sleep: Callable[[float], None] | None = None,
        aside: Aside | None = None,
    ) -> None:
        self.path = path
        self._schema = tuple(schema)
        self._timeout = timeout
        self._sleep = sleep
        self._aside: Aside = aside or at_once
        self._shortens_logs = aside is not None
        self._queue = ProcessLock()
        self._making = HostLock(path.with_name(LOCK_FILE), sleep=sleep)
        self._opened: tuple[tuple[int, ...], sqlite3.Connection] | None = None
        self.failure = ""
        _KNOWN.add(self)

    @contextmanager
    def transaction(self, *, large: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction that may write; undone when the block raises.

        Do nothing in the block that may wait: everybody else waits meanwhile. Use ``write``
        for what must not fail only because the file was found to be ruined.

        Args:
            large: Whether committing may take long, so that it is done aside.

        Raises:
            DatabaseFailed: The file cannot be used.
        """
        do = self._aside if large else at_once
        with self._connection() as (connection, deadline):
            self._patiently(lambda: connection.execute("BEGIN IMMEDIATE"), deadline)
            try:
                yield connection
                self._patiently(lambda: do(connection.commit), deadline)
            except BaseException:
                with suppress(sqlite3.Error):
                    do(connection.rollback)
                raise
            if self._shortens_logs:
                shorten_log(self.path, connection, self._aside)

    def write(self, work: Callable[[sqlite3.Connection], T], *, large: bool = False) -> T:
        """What ``work`` returns from within a transaction; it runs again on a new file when the old one is ruined.

        Args:
            work: Reads and writes, and waits for nothing.
            large: Whether it may take long, so that it is done aside.
        """
        do = self._aside if large else at_once

        def once() -> T:
            with self.transaction(large=large) as connection:
                return do(lambda: work(connection))

        return _once_more(once)

    def rows(self, sql: str, parameters: Sequence[Any] = (), *, large: bool = False) -> list[tuple[Any, ...]]:
        """The rows of one query, which is done aside if it is large; may raise ``DatabaseFailed``, as all of these."""
        do = self._aside if large else at_once

        def once() -> list[tuple[Any, ...]]:
            with self._connection() as (connection, deadline):
                return self._patiently(lambda: do(lambda: connection.execute(sql, parameters).fetchall()), deadline)

        return _once_more(once)

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
                try:
                    yield self._open(deadline), deadline
                except sqlite3.DatabaseError as error:
                    self._give_up(error)
                    raise
        except (LockTimeout, OSError, sqlite3.DatabaseError) as error:
            raise self._failed(error) from error
        self.failure = ""

    def _failed(self, error: Exception) -> Exception:
        if isinstance(error, LockTimeout):
            return DatabaseFailed(str(error))
        if isinstance(error, sqlite3.DatabaseError) and not _is_of_the_file(error):
            return error
        lost = isinstance(error, sqlite3.DatabaseError) and code_of(error) in _RUINED | _STALE
        reason = error.strerror if isinstance(error, OSError) else error
        self.failure = f"{self.path.name} in the data folder cannot be used: {reason}."
        return (ConnectionLost if lost else DatabaseFailed)(self.failure)

    def _give_up(self, error: sqlite3.DatabaseError) -> None:
        """Forgets a connection that is of no use any more, and the file when it is ruined."""
        if self._opened is None or code_of(error) not in _RUINED | _STALE:
            return
        identity = self._opened[0]
        self._forget()
        if code_of(error) in _RUINED:
            self._put_aside(identity)

    def _open(self, deadline: float) -> sqlite3.Connection:
        """The connection of this process to the file that is there now."""
        if self._opened is not None and self._opened[0] == self._identity():
            return self._opened[1]
        self._forget()

        def patient(work: Callable[[], T]) -> T:
            return self._patiently(work, deadline)

        for _ in range(ATTEMPTS):
            self._make()
            identity = self._identity()
            try:
                connection = connect(self.path, self._schema, patient, owns_log=self._shortens_logs)
            except sqlite3.DatabaseError as error:
                if code_of(error) in _RUINED:
                    self._put_aside(identity)
                elif identity == self._identity():
                    raise
                continue
            if identity == self._identity():
                self._opened = (identity, connection)
                return connection
            connection.close()
        raise DatabaseFailed(f"{self.path.name} in the data folder cannot be used: it keeps being replaced.")

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

    def _make(self) -> None:
        if self.path.exists():
            return
        make_private_folder(self.path.parent)
        with self._making.held(self._timeout):
            if self.path.exists():
                return  # another process has just done it
            descriptor, draft = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=".tmp", dir=self.path.parent)
            # Closed before it has the name by which SQLite could open it.
            os.close(descriptor)
            os.rename(draft, self.path)

    def _put_aside(self, ruined: tuple[int, ...]) -> None:
        with self._making.held(self._timeout):
            if self._identity() != ruined:
                return  # another process has just done it
            log.error("%s in the data folder is corrupt; it was renamed to %s.ruined.", self.path.name, self.path.name)
            for companion in _COMPANIONS:
                with suppress(FileNotFoundError):
                    os.replace(f"{self.path}{companion}", f"{self.path}{companion}.ruined")

    def _patiently(self, work: Callable[[], T], deadline: float) -> T:
        return patiently(work, deadline, self._sleep)


def broken_databases() -> list[str]:
    """What the databases of this process that cannot be used failed with, a sentence each."""
    return sorted({database.failure for database in _KNOWN if database.failure})


def _once_more(work: Callable[[], T]) -> T:
    try:
        return work()
    except ConnectionLost:
        return work()


def _is_of_the_file(error: sqlite3.DatabaseError) -> bool:
    # Anything else, such as a broken constraint, is a bug of ours.
    return isinstance(error, sqlite3.OperationalError) or code_of(error) in _RUINED
