"""A storage of the ``limits`` library for all processes of one host, in SQLite.

Registered under ``codexproxy+sqlite://``, so that a storage is named by its
URI whichever it is: ``memory://``, ``codexproxy+sqlite:///path/limits.db``.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from limits.storage import MovingWindowSupport, Storage

from codexproxy.errors import ProxyError
from codexproxy.storage.sqlite.database import Database

SCHEME = "codexproxy+sqlite"

SCHEMA = (
    "CREATE TABLE counters (key TEXT PRIMARY KEY, value INTEGER NOT NULL, expires REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE entries (key TEXT NOT NULL, at REAL NOT NULL, expires REAL NOT NULL)",
    "CREATE INDEX entries_by_key ON entries (key, at)",
    "CREATE INDEX entries_by_expiry ON entries (expires)",
)

# What has expired is swept once in so many writes of a process.
SWEEP_EVERY = 200
# Seconds that others of the host are waited for.
PATIENCE = 2.0
# Seconds by which an entry may be ahead of us; one that is further ahead was made before the clock was set back.
AHEAD = 1.0

_ADD = (
    "INSERT INTO counters VALUES (?, ?, ?) "
    "ON CONFLICT (key) DO UPDATE SET value = value + excluded.value RETURNING value"
)
_USED = "SELECT min(at), count(*) FROM entries WHERE key = ? AND at > ? AND at <= ?"
_OUTSIDE = "DELETE FROM entries WHERE key = ? AND (at <= ? OR at > ?)"

log = logging.getLogger(__name__)


def storage_uri(path: Path) -> str:
    """The URI of a storage in this file."""
    return f"{SCHEME}://{quote(str(path))}"


class SQLiteStorage(Storage, MovingWindowSupport):
    """Counters and moving windows; every change is one transaction, so limits are exact.

    While the file cannot be written, each process counts what it lets pass itself, on top of
    what the file holds: a full disk neither refuses everybody nor lifts a limit.

    Args:
        uri: ``codexproxy+sqlite:///path``.
        wrap_exceptions: As of the library.
        clock: Epoch seconds.
        options: Of the library; none has a meaning here.
    """

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012 - the library reads it from the class

    def __init__(
        self, uri: str, wrap_exceptions: bool = False, clock: Callable[[], float] = time.time, **options: Any
    ) -> None:
        super().__init__(uri, wrap_exceptions)
        self._database = Database(Path(unquote(uri.removeprefix(f"{SCHEME}://"))), SCHEMA, timeout=PATIENCE)
        self._own = _in_memory()
        self._clock = clock
        self._writes = 0

    @property
    def base_exceptions(self) -> type[Exception]:
        """What may be raised when the file cannot be used."""
        return ProxyError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Adds to a counter and returns its value; ``expiry`` seconds run from its first use."""

        def add(connection: sqlite3.Connection) -> int:
            now = self._clock()
            self._sweep(connection, now)
            connection.execute("DELETE FROM counters WHERE key = ? AND expires <= ?", (key, now))
            return int(connection.execute(_ADD, (key, amount, now + expiry)).fetchone()[0])

        try:
            self._database.write(add)
        except ProxyError as error:
            self._counts_alone(error)
            add(self._own)
        return self.get(key)

    def get(self, key: str) -> int:
        """A counter's value."""
        rows = self._both("SELECT value FROM counters WHERE key = ? AND expires > ?", (key, self._clock()))
        return sum(int(value) for (value,) in rows)

    def get_expiry(self, key: str) -> float:
        """When a counter starts again, in epoch seconds; now for one that does not exist."""
        now = self._clock()
        rows = self._both("SELECT expires FROM counters WHERE key = ? AND expires > ?", (key, now))
        return min((float(expires) for (expires,) in rows), default=now)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Takes ``amount`` places of a moving window, or none when they are not all free."""

        def take(connection: sqlite3.Connection, elsewhere: int) -> bool:
            now = self._clock()
            self._sweep(connection, now)
            connection.execute(_OUTSIDE, (key, now - expiry, now + AHEAD))
            if elsewhere + _used(connection, key, now, expiry) + amount > limit:
                return False
            connection.executemany("INSERT INTO entries VALUES (?, ?, ?)", [(key, now, now + expiry)] * amount)
            return True

        try:
            own = _used(self._own, key, self._clock(), expiry)
            return self._database.write(lambda connection: take(connection, own))
        except ProxyError as error:
            self._counts_alone(error)
            now = self._clock()
            shared = self._shared(_USED, (key, now - expiry, now + AHEAD))
            return take(self._own, sum(used for _, used in shared))

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """The oldest entry's time, now when there is none, and how many entries there are."""
        now = self._clock()
        rows = self._both(_USED, (key, now - expiry, now + AHEAD))
        oldest = min((float(at) for at, _ in rows if at is not None), default=now)
        return oldest, sum(int(used) for _, used in rows)

    def check(self) -> bool:
        """Whether the file can be used."""
        try:
            self._database.rows("SELECT 1")
        except ProxyError:
            return False
        return True

    def reset(self) -> int | None:
        """Forgets everything; returns how many counters and entries there were."""

        def forget(connection: sqlite3.Connection) -> int:
            counters = connection.execute("DELETE FROM counters").rowcount
            return counters + connection.execute("DELETE FROM entries").rowcount

        return forget(self._own) + self._database.write(forget)

    def clear(self, key: str) -> None:
        """Forgets one key."""

        def forget(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM counters WHERE key = ?", (key,))
            connection.execute("DELETE FROM entries WHERE key = ?", (key,))

        forget(self._own)
        self._database.write(forget)

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def _both(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        return [*self._shared(sql, parameters), *self._own.execute(sql, parameters)]

    def _shared(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        try:
            return self._database.rows(sql, parameters)
        except ProxyError as error:
            self._counts_alone(error)
            return []

    def _counts_alone(self, error: ProxyError) -> None:
        log.warning("use by keys is counted in this process only: %s", error.message)

    def _sweep(self, connection: sqlite3.Connection, now: float) -> None:
        self._writes += 1
        if self._writes % SWEEP_EVERY == 0:
            connection.execute("DELETE FROM counters WHERE expires <= ?", (now,))
            connection.execute("DELETE FROM entries WHERE expires <= ?", (now,))


def _in_memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    for statement in SCHEMA:
        connection.execute(statement)
    return connection


def _used(connection: sqlite3.Connection, key: str, now: float, expiry: int) -> int:
    return int(connection.execute(_USED, (key, now - expiry, now + AHEAD)).fetchone()[1])
