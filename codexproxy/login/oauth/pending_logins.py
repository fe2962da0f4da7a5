"""Logins that were begun and not finished, where every worker and process of the host sees them."""

import hashlib
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codexproxy.login.oauth.pkce import same
from codexproxy.storage.sqlite.database import Database

SCHEMA = (
    "CREATE TABLE attempts (digest TEXT PRIMARY KEY, state TEXT NOT NULL, verifier TEXT NOT NULL,"
    " redirect_uri TEXT NOT NULL, url TEXT NOT NULL, begun_at INTEGER NOT NULL, expires_at INTEGER NOT NULL)",
)
_COLUMNS = "state, verifier, redirect_uri, url, expires_at"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One login under way.

    Attributes:
        state: Names the attempt to the issuer, and back.
        verifier: The PKCE verifier.
        redirect_uri: Where the issuer sends the browser; repeated in the exchange.
        url: The address to open.
        expires_at: When the attempt ends, epoch milliseconds.
    """

    state: str = field(repr=False)
    verifier: str = field(repr=False)
    redirect_uri: str
    url: str = field(repr=False)
    expires_at: int


class Attempts:
    """The pending attempts in a database of the data folder. Each can be claimed once.

    Args:
        path: The database file.
        clock: Epoch seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._database = Database(path, SCHEMA)
        self._clock = clock

    def add(self, attempt: Attempt) -> None:
        """Remembers an attempt until it is claimed or expires.

        Raises:
            DatabaseFailed: The disk would not.
        """
        row = (digest_of(attempt.state), attempt.state, attempt.verifier, attempt.redirect_uri, attempt.url)
        now = self._now()

        def add(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM attempts WHERE expires_at <= ?", (now,))
            connection.execute("INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, now, attempt.expires_at))

        self._database.write(add)

    def claim(self, state: str | None) -> Attempt | None:
        """Takes an attempt out: nobody else will get it.

        Args:
            state: Its state; None for the newest one.

        Returns:
            None when there is no such attempt any more.
        """
        if state is None:
            return self._take("1 ORDER BY begun_at DESC, rowid DESC LIMIT 1", ())
        # Looked up by a digest, so that the time of the search tells nothing about the secret.
        attempt = self._take("digest = ?", (digest_of(state),))
        return attempt if attempt is not None and same(attempt.state, state) else None

    def pending(self) -> int:
        """How many attempts wait."""
        return int(self._database.rows("SELECT COUNT(*) FROM attempts WHERE expires_at > ?", (self._now(),))[0][0])

    def is_pending(self, digest: str) -> bool:
        """Whether the attempt filed under this digest waits."""
        found = self._database.rows("SELECT 1 FROM attempts WHERE digest = ? AND expires_at > ?", (digest, self._now()))
        return bool(found)

    def newest(self) -> str | None:
        """The digest that the newest attempt is filed under; None when none waits."""
        found = self._database.rows(
            "SELECT digest FROM attempts WHERE expires_at > ? ORDER BY begun_at DESC, rowid DESC LIMIT 1",
            (self._now(),),
        )
        return str(found[0][0]) if found else None

    def tidy(self) -> None:
        """Forgets what has expired.

        Raises:
            DatabaseFailed: The disk takes nothing; a login would be lost there as well.
        """
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM attempts WHERE expires_at <= ?", (self._now(),))

    def close(self) -> None:
        """Closes the database."""
        self._database.close()

    def _take(self, condition: str, parameters: tuple[Any, ...]) -> Attempt | None:
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM attempts WHERE expires_at <= ?", (self._now(),))
            row = connection.execute(f"SELECT {_COLUMNS} FROM attempts WHERE {condition}", parameters).fetchone()
            if row is None:
                return None
            connection.execute("DELETE FROM attempts WHERE digest = ?", (digest_of(row[0]),))
        return Attempt(*row)

    def _now(self) -> int:
        return int(self._clock() * 1000)


def digest_of(state: str) -> str:
    """What an attempt is filed under."""
    return hashlib.sha256(state.encode("utf-8", "replace")).hexdigest()
