"""What each key used, day by day, counted by all processes of the host."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from codexproxy.state.database import Database

# Days of which use is kept.
KEPT_DAYS = 400

_SCHEMA = (
    "CREATE TABLE usage (day TEXT, key TEXT, model TEXT, turns INTEGER, input INTEGER, cached INTEGER,"
    " output INTEGER, PRIMARY KEY (day, key, model)) WITHOUT ROWID",
)
_ADD = (
    "INSERT INTO usage VALUES (?, ?, ?, 1, ?, ?, ?) ON CONFLICT (day, key, model) DO UPDATE SET"
    " turns = turns + 1, input = input + excluded.input, cached = cached + excluded.cached,"
    " output = output + excluded.output"
)
_SUM = (
    "SELECT key, model, sum(turns), sum(input), sum(cached), sum(output) FROM usage WHERE day >= ?"
    " GROUP BY key, model ORDER BY sum(input) + sum(output) DESC, key, model"
)


@dataclass(frozen=True, slots=True)
class Use:
    """What one key used of one model.

    Attributes:
        key: The key's name.
        model: The model's name upstream.
        turns: Finished turns.
        input_tokens: Tokens read, cached ones included.
        cached_tokens: Those of them that upstream had in its cache.
        output_tokens: Tokens written, reasoning included.
    """

    key: str
    model: str
    turns: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int


class Ledger:
    """Use by key, model and day (UTC).

    Args:
        path: The database file.
        clock: Epoch seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._database = Database(path, _SCHEMA)
        self._clock = clock
        self._swept = ""

    def add(self, key: str, model: str, *, input_tokens: int, cached_tokens: int = 0, output_tokens: int) -> None:
        """Counts one finished turn.

        Raises:
            DatabaseFailed: The file cannot be used.
        """
        day = self._day(0)
        with self._database.transaction() as connection:
            connection.execute(_ADD, (day, key, model, input_tokens, cached_tokens, output_tokens))
            if self._swept != day:
                connection.execute("DELETE FROM usage WHERE day < ?", (self._day(KEPT_DAYS),))
                self._swept = day

    def totals(self, days: int = 1) -> list[Use]:
        """Use of the last so many days, today included, the most first.

        Raises:
            DatabaseFailed: The file cannot be used.
        """
        return [Use(*row) for row in self._database.rows(_SUM, (self._day(days - 1),))]

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def _day(self, ago: int) -> str:
        now = datetime.fromtimestamp(self._clock(), UTC)
        return (now - timedelta(days=ago)).date().isoformat()
