"""A storage of the ``limits`` library for all processes of one host, in SQLite.

Registered under ``codexproxy+sqlite://``, so that a storage is named by its
URI whichever it is: ``memory://``, ``codexproxy+sqlite:///path/limits.db``,
``redis://host``.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from limits.storage import MovingWindowSupport, Storage

from codexproxy.errors import ProxyError
from codexproxy.state.database import Database

SCHEME = "codexproxy+sqlite"

SCHEMA = (
    "CREATE TABLE counters (key TEXT PRIMARY KEY, value INTEGER NOT NULL, expires REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE entries (key TEXT NOT NULL, at REAL NOT NULL, expires REAL NOT NULL)",
    "CREATE INDEX entries_by_key ON entries (key, at)",
    "CREATE INDEX entries_by_expiry ON entries (expires)",
)

# What has expired is swept once in so many writes of a process.
SWEEP_EVERY = 200


def storage_uri(path: Path) -> str:
    """The URI of a storage in this file."""
    return f"{SCHEME}://{quote(str(path))}"


class SQLiteStorage(Storage, MovingWindowSupport):
    """Counters and moving windows; every change is one transaction, so limits are exact.

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
        self._database = Database(Path(unquote(uri.removeprefix(f"{SCHEME}://"))), SCHEMA)
        self._clock = clock
        self._writes = 0

    @property
    def base_exceptions(self) -> type[Exception]:
        """What may be raised when the file cannot be used."""
        return ProxyError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Adds to a counter and returns its value; ``expiry`` seconds run from its first use."""
        now = self._clock()
        with self._database.transaction() as connection:
            self._sweep(connection, now)
            connection.execute("DELETE FROM counters WHERE key = ? AND expires <= ?", (key, now))
            row = connection.execute(
                "INSERT INTO counters VALUES (?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET value = value + excluded.value RETURNING value",
                (key, amount, now + expiry),
            ).fetchone()
        return int(row[0])

    def get(self, key: str) -> int:
        """A counter's value."""
        rows = self._database.rows("SELECT value FROM counters WHERE key = ? AND expires > ?", (key, self._clock()))
        return int(rows[0][0]) if rows else 0

    def get_expiry(self, key: str) -> float:
        """When a counter starts again, in epoch seconds; now for one that does not exist."""
        now = self._clock()
        rows = self._database.rows("SELECT expires FROM counters WHERE key = ? AND expires > ?", (key, now))
        return float(rows[0][0]) if rows else now

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Takes ``amount`` places of a moving window, or none when they are not all free."""
        now = self._clock()
        with self._database.transaction() as connection:
            self._sweep(connection, now)
            connection.execute("DELETE FROM entries WHERE key = ? AND at <= ?", (key, now - expiry))
            (used,) = connection.execute("SELECT count(*) FROM entries WHERE key = ?", (key,)).fetchone()
            if used + amount > limit:
                return False
            connection.executemany("INSERT INTO entries VALUES (?, ?, ?)", [(key, now, now + expiry)] * amount)
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """The oldest entry's time, now when there is none, and how many entries there are."""
        now = self._clock()
        rows = self._database.rows(
            "SELECT min(at), count(*) FROM entries WHERE key = ? AND at > ?", (key, now - expiry)
        )
        oldest, used = rows[0]
        return (float(oldest) if oldest is not None else now), int(used)

    def check(self) -> bool:
        """Whether the file can be used."""
        try:
            self._database.rows("SELECT 1")
        except ProxyError:
            return False
        return True

    def reset(self) -> int | None:
        """Forgets everything; returns how many counters and entries there were."""
        with self._database.transaction() as connection:
            counters = connection.execute("DELETE FROM counters").rowcount
            return counters + connection.execute("DELETE FROM entries").rowcount

    def clear(self, key: str) -> None:
        """Forgets one key."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM counters WHERE key = ?", (key,))
            connection.execute("DELETE FROM entries WHERE key = ?", (key,))

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def _sweep(self, connection: Any, now: float) -> None:
        self._writes += 1
        if self._writes % SWEEP_EVERY == 0:
            connection.execute("DELETE FROM counters WHERE expires <= ?", (now,))
            connection.execute("DELETE FROM entries WHERE expires <= ?", (now,))
