"""The request ledger: one row per turn, never a text, counted by all processes of the host."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path

from codexproxy.state.database import Database

# Its name in the data folder.
FILE = "ledger.sqlite3"
# Rows that are kept, the newest; some 60 MB.
KEPT_ROWS = 250_000

# What usage is told by -> how its value is found in a row. Days are UTC.
DIMENSIONS = {
    "day": "strftime('%Y-%m-%d', at, 'unixepoch')",
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
    "SELECT {name} AS name, model, count(*), sum(status >= 400 OR code <> ''), sum(input_tokens),"
    " sum(cached_tokens), sum(output_tokens) FROM turns WHERE at >= ? GROUP BY name, model ORDER BY name, model"
)
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

    def used(self, dimension: str, since: float) -> list[Use]:
        """What was used, by one of ``DIMENSIONS`` and model.

        Args:
            dimension: What it is told by.
            since: Epoch seconds.

        Raises:
            DatabaseFailed: The file cannot be used.
        """
        sql = _SUM.format(name=DIMENSIONS[dimension])
        return [Use(*row) for row in self._database.rows(sql, (since,))]

    def newest(self, count: int, since: float = 0.0) -> list[TurnRecord]:
        """The last rows, the newest first.

        Raises:
            DatabaseFailed: The file cannot be used.
        """
        return [TurnRecord(*row) for row in self._database.rows(_NEWEST, (since, count))]

    def close(self) -> None:
        """Closes the file."""
        self._database.close()
