"""Stored responses in one SQLite file that all processes of a host share."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from codexproxy.storage.base import (
    Excerpt,
    Frame,
    History,
    Json,
    Limits,
    Stored,
    abandoned,
    cancelled,
)
from codexproxy.storage.sqlite import response_tables as sql
from codexproxy.storage.stored_responses import content_of, decode, item_of

T = TypeVar("T")

# Responses forgotten in one transaction at most, so that nobody waits long.
_SLICE = 100
# Items that are written, or read, without letting others run.
_MANY = 64
# Bytes of items that are written, or read, without letting others run.
_MUCH = 256 * 1024
# Names in one query at most (SQLite's own limit is 999 variables in old builds).
_NAMES = 500


class Database(Protocol):
    """The database file, as ``codexproxy.storage.sqlite.database`` opens it."""

    def transaction(self, *, large: bool = False) -> AbstractContextManager[sqlite3.Connection]:
        """One transaction that may write; undone when the block raises."""

    def write(self, work: Callable[[sqlite3.Connection], T], *, large: bool = False) -> T:
        """What comes of some work within a transaction, done again where the file was ruined; aside where large."""

    def rows(self, sql: str, parameters: Sequence[Any] = (), *, large: bool = False) -> list[tuple[Any, ...]]:
        """The rows of one query; asked for aside where they are large."""


class SqliteResponseStore:
    """A ``ResponseStore`` in SQLite.

    Every method may raise ``DatabaseFailed``: disk full, read-only, ….

    Args:
        database: The file, opened with ``response_tables.SCHEMA``.
        limits: How much is kept, and for how long.
        clock: Seconds since the epoch.
        pause: Lets others run, now and then in a long walk.
    """

    def __init__(
        self,
        database: Database,
        limits: Limits = Limits(),
        clock: Callable[[], float] = time.time,
        *,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._pause = pause
        self._database = database
        self._limits = limits
        self._clock = clock

    def save(self, stored: Stored) -> None:
        """Keeps a finished response; one of the same id and owner is replaced."""
        now = self._clock()
        self._insert(stored, now, finished=now, lease=None)

    def begin(self, stored: Stored) -> None:
        """Keeps a response that is still being made; its maker must ``advance`` it."""
        now = self._clock()
        self._insert(stored, now, finished=None, lease=now + self._limits.lease)

    def advance(self, owner: str, id: str, frames: Sequence[Frame] = (), response: Json | None = None) -> bool:
        """Says that an unfinished response is being made; False when nobody wants it any more."""
        now = self._clock()
        with self._database.transaction() as connection:
            row = sql.unfinished(connection, owner, id, now)
            if row is None:
                return False
            sql.add_frames(connection, row, frames)
            if response is not None:
                sql.set_body(connection, row, response)
            connection.execute("UPDATE responses SET lease = ? WHERE row = ?", (now + self._limits.lease, row))
            return True

    def finish(self, owner: str, id: str, response: Json, frames: Sequence[Frame] = ()) -> bool:
        """Ends an unfinished response; False when it had ended already."""
        now = self._clock()
        with self._database.transaction() as connection:
            row = sql.unfinished(connection, owner, id, now)
            if row is None:
                return False
            sql.add_frames(connection, row, frames)
            sql.set_body(connection, row, response)
            sql.end(connection, row, now)
            return True

    def attend(self, owner: str, id: str) -> None:
        """Says that somebody reads along at this moment."""
        with self._database.transaction() as connection:
            connection.execute(sql.ATTEND, (self._clock(), owner, id))

    def attended(self, owner: str, id: str) -> float | None:
        """When somebody last read along, in epoch seconds; None when nobody did."""
        rows = self._database.rows(sql.ATTENDED, (owner, id))
        return rows[0][0] if rows else None

    def cancel(self, owner: str, id: str) -> Json | None:
        """Ends an unfinished response as cancelled; a finished one stays what it was."""
        response = self.get(owner, id)
        if response is not None and self.finish(owner, id, cancelled(response)):
            return cancelled(response)
        return self.get(owner, id)

    def get(self, owner: str, id: str) -> Json | None:
        """The Response object, None when there is none."""
        rows = self._database.rows(sql.GET, (owner, id, self._oldest()))
        if not rows:
            return None
        body, lease = rows[0][:2]
        output = [item_of(item, content) for _, _, item, content in rows if content is not None]
        response = {**decode(body), "output": output}
        return abandoned(response) if self._is_over(lease) and lease is not None else response

    def delete(self, owner: str, id: str) -> bool:
        """Forgets a response; False when there was none."""
        with self._database.transaction() as connection:
            deleted = connection.execute("DELETE FROM responses WHERE owner = ? AND id = ?", (owner, id))
            return deleted.rowcount > 0

    def history(self, owner: str, id: str) -> History | None:
        """The conversation up to a response, None when there is none."""
        response = self.get(owner, id)
        rows = self._database.rows(sql.HISTORY, (owner, id, self._oldest()))
        if response is None or not rows:
            return None
        last = rows[-1][0]
        kept = [
            ((row, side), item_of(item, content))
            for row, _, side, item, content in self._paced(rows)
            if content is not None
        ]
        return History(
            input=[item for place, item in kept if place != (last, sql.OUTPUT)],
            output=response["output"],
            status=str(response.get("status")),
            lost=rows[0][1],
        )

    def items(self, owner: str, ids: Sequence[str]) -> dict[str, Json]:
        """Kept items by their ids; unknown ids are absent."""
        return {item: item_of(item, body) for item, body in self._of_items(sql.ITEMS, owner, ids)}

    def history_size(self, owner: str, id: str) -> int:
        """About how many bytes the conversation up to a response is; 0 when there is none."""
        rows = self._database.rows(sql.HISTORY_SIZE, (owner, id, self._oldest()))
        return int(rows[0][0])

    def item_sizes(self, owner: str, ids: Sequence[str]) -> dict[str, int]:
        """About how many bytes each of these items is; unknown ids are absent."""
        return dict(self._of_items(sql.ITEM_SIZES, owner, ids))

    def _of_items(self, query: str, owner: str, ids: Sequence[str]) -> Iterator[Any]:
        for start in range(0, len(ids), _NAMES):
            names = ids[start : start + _NAMES]
            marks = ",".join("?" * len(names))
            yield from self._database.rows(query.format(marks), (*names, owner, self._oldest()))

    def log(self, owner: str, id: str, after: int = -1, limit: int = 500) -> Excerpt | None:
        """Frames whose number is greater than ``after``, None when there is no such response."""
        # Whoever reads a long log asks again and again, and waits for nothing in between.
        self._pause()
        rows = self._database.rows(sql.LOG, (owner, id, self._oldest(), after, limit))
        if not rows:
            return None
        frames = [(number, frame) for _, number, frame in rows if frame is not None]
        return Excerpt(frames, is_last=self._is_over(rows[0][0]) and len(frames) < limit)

    def sweep(self) -> int:
        """Gives up abandoned responses, forgets what is beyond the limits; says how much was forgotten."""
        while self._give_up() == _SLICE:
            pass
        while self._forget_logs() == _SLICE:
            pass
        return self._shrink()

    def _insert(self, stored: Stored, now: float, **moments: float | None) -> None:
        values = {"owner": stored.owner, "id": str(stored.response["id"]), "previous": stored.previous, **moments}
        inputs = [content_of(item, self._pause) for item in self._paced(stored.input)]
        outputs = [content_of(item, self._pause) for item in self._paced(stored.response.get("output") or ())]
        size = sum(len(content.body) for content in self._paced(inputs + outputs))
        large = len(inputs) + len(outputs) > _MANY or size > _MUCH

        def insert(connection: sqlite3.Connection) -> int:
            row = sql.insert(connection, values, now)
            sql.add_items(connection, row, sql.INPUT, inputs)
            sql.add_items(connection, row, sql.OUTPUT, outputs)
            sql.replace_body(connection, row, stored.response)
            return self._forget(connection)

        if self._database.write(insert, large=large):
            self._shrink()

    def _paced(self, entries: Sequence[T]) -> Iterator[T]:
        for start in range(0, len(entries), _MANY):
            yield from entries[start : start + _MANY]
            self._pause()

    def _oldest(self) -> float:
        return self._clock() - self._limits.max_age

    def _is_over(self, lease: float | None) -> bool:
        return lease is None or lease < self._clock()

    def _shrink(self) -> int:
        forgotten = 0
        while True:
            # What is forgotten may be large, and nobody waits for it.
            count = self._database.write(self._forget, large=True)
            if not count:
                return forgotten
            forgotten += count

    def _forget(self, connection: sqlite3.Connection) -> int:
        count = sql.forget_expired(connection, self._oldest(), _SLICE)
        return count + sql.forget_beyond(connection, self._limits.max_responses, self._limits.max_bytes, _SLICE)

    def _forget_logs(self) -> int:
        with self._database.transaction() as connection:
            return sql.forget_logs(connection, self._clock() - self._limits.log_age, _SLICE)

    def _give_up(self) -> int:
        now = self._clock()
        with self._database.transaction() as connection:
            overdue = connection.execute(sql.OVERDUE, (now, _SLICE)).fetchall()
            for row, body in overdue:
                sql.replace_body(connection, row, abandoned(decode(body)))
                sql.end(connection, row, now)
            return len(overdue)
