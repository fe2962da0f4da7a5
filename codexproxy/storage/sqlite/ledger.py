"""The request ledger: one row per turn, never a text, counted by all processes of the host."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore

from codexproxy.storage.sqlite.database import Database

# Rows that are kept, the newest; some 60 MB.
KEPT_ROWS = 250_000
_TOLD_AGAIN = 10
# So many sums are kept, of windows and of keys made within them.
_MOST_SUMS = 100

# What usage is told by -> how its value is found in a row. Days are UTC.
DIMENSIONS = {
    "day": "CAST(at / 86400 AS INTEGER)",
    "model": "model",
    "key": "key",
    "client": "client",
}


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """What is remembered of one turn.

    Attributes:
        at: When it began, in epoch seconds.
        key: Name of the key that asked, never the key itself.
        client: The client's profile.
        dialect: ``chat``, ``responses``, …
        model: The model's name upstream; as asked for where no turn came about.
        effort: Reasoning effort that was sent, ``""`` for the model's own.
        backend: The provider that answered, ``""`` where none did.
        status: The HTTP status; 499 for a client that left.
        code: The error's code, ``""`` where it went well.
        input_tokens: Tokens read, cached ones included.
        cached_tokens: Those of them that upstream had in its cache.
        output_tokens: Tokens written, reasoning included.
        reasoning_tokens: Those of them that were reasoning.
        first_ms: Milliseconds until the answer began; None where it never did.
        total_ms: Milliseconds until it was over.
        adapted: What was changed on the way, comma-separated.
    """

    at: float
    key: str
    client: str
    dialect: str
    model: str
    effort: str
    backend: str
    status: int
    code: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    first_ms: int | None
    total_ms: int
    adapted: str


@dataclass(frozen=True, slots=True)
class Use:
    """What one value of a dimension used of one model.

    Attributes:
        name: The day, model, key or client.
        model: The model's name upstream.
        turns: Turns, failed ones included.
        failed: Turns that ended with an error.
        input_tokens: See ``TurnRecord``.
        cached_tokens: See ``TurnRecord``.
        output_tokens: See ``TurnRecord``.
    """

    name: str
    model: str
    turns: int
    failed: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int


_COLUMNS = ", ".join(field.name for field in fields(TurnRecord))
_SCHEMA = (
    "CREATE TABLE turns (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL, key TEXT, client TEXT, dialect TEXT,"
    " model TEXT, effort TEXT, backend TEXT, status INTEGER, code TEXT, input_tokens INTEGER, cached_tokens INTEGER,"
    " output_tokens INTEGER, reasoning_tokens INTEGER, first_ms INTEGER, total_ms INTEGER, adapted TEXT)",
)
_ADD = f"INSERT INTO turns ({_COLUMNS}) VALUES ({', '.join('?' for _ in fields(TurnRecord))})"
_ROW = attrgetter(*(column.name for column in fields(TurnRecord)))
_FORGET = "DELETE FROM turns WHERE id <= (SELECT max(id) FROM turns) - ?"
_SUM = (
    "SELECT {names}, model, count(*), sum(status >= 400 OR code <> ''), sum(input_tokens),"
    " sum(cached_tokens), sum(output_tokens) FROM turns WHERE at >= ? GROUP BY {names}, model"
)
_KNOWN = "SELECT at, key, dialect FROM turns WHERE at IN ({})"
_AT_ONCE = 500
_NEWEST = f"SELECT {_COLUMNS} FROM turns WHERE at >= ? ORDER BY id DESC LIMIT ?"


class Ledger:
    """The rows of this host.

    Args:
        path: The database file.
        keep: Rows that are kept.
    """

    def __init__(self, path: Path, keep: int = KEPT_ROWS) -> None:
        self._database = Database(path, _SCHEMA)
        self._keep = keep

    def add(self, records: Iterable[TurnRecord]) -> None:
        """Writes rows down and forgets the oldest beyond the bound.

        Raises:
            DatabaseFailed: The file cannot be used.
        """
        with self._database.transaction() as connection:
            connection.executemany(_ADD, map(_ROW, records))
            connection.execute(_FORGET, (self._keep,))

    def add_missing(self, records: Sequence[TurnRecord]) -> None:
        """Writes down those rows that are not there yet; a turn is known by its moment, key and dialect.

        Raises:
            DatabaseFailed: The file cannot be used.
        """
        known: set[tuple[Any, ...]] = set()
        for place in range(0, len(records), _AT_ONCE):
            moments = [record.at for record in records[place : place + _AT_ONCE]]
            known.update(self._database.rows(_KNOWN.format(", ".join("?" for _ in moments)), moments))
        self.add(record for record in records if (record.at, record.key, record.dialect) not in known)

    def used(self, dimension: str, since: float) -> list[Use]:
        """What was used, by one of ``DIMENSIONS`` and model.

        Args:
            dimension: What it is told by.
            since: Epoch seconds.

        Raises:
            DatabaseFailed: The file cannot be used.
        """
        return self.used_by([dimension], since)[dimension]

    def used_by(self, dimensions: Sequence[str], since: float) -> dict[str, list[Use]]:
        """What was used, by each of several dimensions, from one walk over the rows; see ``used``."""
        names = ", ".join(DIMENSIONS[dimension] for dimension in dimensions)
        rows = self._database.rows(_SUM.format(names=names), (since,))
        return {dimension: _summed(dimension, place, rows) for place, dimension in enumerate(dimensions)}

    def newest(self, count: int, since: float = 0.0) -> list[TurnRecord]:
        """The last rows, the newest first.

        Raises:
            DatabaseFailed: The file cannot be used.
        """
        return [TurnRecord(*row) for row in self._database.rows(_NEWEST, (since, count))]

    def close(self) -> None:
        """Closes the file."""
        self._database.close()


def _summed(dimension: str, place: int, rows: Sequence[tuple[Any, ...]]) -> list[Use]:
    sums: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        model, *numbers = row[-6:]
        name = _day(row[place]) if dimension == "day" else row[place]
        so_far = sums.get((name, model), [0] * 5)
        sums[name, model] = [one + other for one, other in zip(so_far, numbers, strict=True)]
    return [Use(name, model, *numbers) for (name, model), numbers in sorted(sums.items())]


def _day(number: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()


class KeySums:
    """What each key used, summed beside the event loop.

    A ledger that is full takes half a second, in which no stream of the worker may stand
    still: the walk runs in a thread of the worker's pool, one at a time, with a connection
    of its own. What it found is told for ten times as long as it took.

    Args:
        path: The ledger's file.
        clock: Monotonic seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._walking = BoundedSemaphore(1)
        # Epoch seconds -> what was used since then, and until when that is told again; the oldest first.
        self._sums: dict[float, tuple[list[Use], float]] = {}

    def since(self, since: float) -> list[Use]:
        """What was used by each key and model; empty where there is no ledger.

        Args:
            since: Epoch seconds. Another moment is another sum, however near: a key that was made then must not see
                what an earlier key of its name used before.

        Raises:
            DatabaseFailed: The file cannot be used.
        """
        with self._walking:
            began = self._clock()
            found, until = self._sums.get(since, ([], float("-inf")))
            if began >= until:
                found = gevent.get_hub().threadpool.apply(self._walk, (since,))
                now = self._clock()
                self._sums.pop(since, None)
                self._sums[since] = found, now + _TOLD_AGAIN * (now - began)
                if len(self._sums) > _MOST_SUMS:
                    del self._sums[next(iter(self._sums))]
            return found

    def _walk(self, since: float) -> list[Use]:
        # Reading must not be what makes the file.
        if not self._path.exists():
            return []
        ledger = Ledger(self._path)
        try:
            return ledger.used("key", since)
        finally:
            ledger.close()
