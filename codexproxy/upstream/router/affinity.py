"""Which account a conversation belongs to, so that it stays there.

A conversation's prompt cache and its encrypted reasoning are worth something
only where they were made.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from codexproxy.errors import ProxyError
from codexproxy.protocol.request import Turn
from codexproxy.storage.sqlite.database import BRIEFLY, Database

log = logging.getLogger(__name__)

# Conversations one process remembers, and for how long a host does.
REMEMBERED = 20_000
REMEMBERED_SECONDS = 30 * 24 * 3600.0
SWEEP_EVERY = 500
SWEEP = "DELETE FROM conversations WHERE answered <= ?"

_SCHEMA = (
    "CREATE TABLE conversations (id TEXT PRIMARY KEY, account TEXT NOT NULL, answered REAL NOT NULL) WITHOUT ROWID",
    # Sweeping must not walk over all that is remembered, since it is done within a request.
    "CREATE INDEX conversations_answered ON conversations (answered)",
)
_REMEMBER = "INSERT OR REPLACE INTO conversations VALUES (?, ?, ?)"


class Affinity(Protocol):
    """Remembers conversations; several processes may share what they remember."""

    def recall(self, conversation: str) -> str | None:
        """The account a conversation was answered by last, None when unknown."""

    def remember(self, conversation: str, account: str) -> None:
        """Notes who answered a conversation."""


class ProcessAffinity:
    """Remembers the most recent conversations of one process.

    Args:
        size: How many.
    """

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._accounts: OrderedDict[str, str] = OrderedDict()

    def recall(self, conversation: str) -> str | None:
        """See ``Affinity.recall``."""
        return self._accounts.get(conversation)

    def remember(self, conversation: str, account: str) -> None:
        """See ``Affinity.remember``."""
        self._accounts[conversation] = account
        self._accounts.move_to_end(conversation)
        while len(self._accounts) > self._size:
            self._accounts.popitem(last=False)


def conversation_of(turn: Turn) -> str:
    """A short name for a caller's conversation; equal ids of two callers are two conversations."""
    identity = f"{turn.caller.key}\n{turn.cache_key}".encode("utf-8", "surrogatepass")
    return sha256(identity).hexdigest()[:32]


class HostAffinity:
    """Remembers conversations for all processes of the host, across restarts.

    While the file cannot be used, each process remembers for itself: a turn
    must not fail because of what is only a convenience.

    Args:
        path: The database file.
        clock: Epoch seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._database = Database(path, _SCHEMA, timeout=BRIEFLY)
        self._clock = clock
        self._own = ProcessAffinity()
        self._writes = 0

    def recall(self, conversation: str) -> str | None:
        """See ``Affinity.recall``."""
        try:
            rows = self._database.rows("SELECT account FROM conversations WHERE id = ?", (conversation,))
        except ProxyError as error:
            log.warning("conversations of other processes cannot be read: %s", error.message)
            return self._own.recall(conversation)
        return str(rows[0][0]) if rows else None

    def remember(self, conversation: str, account: str) -> None:
        """See ``Affinity.remember``."""
        self._own.remember(conversation, account)
        now = self._clock()
        try:
            with self._database.transaction() as connection:
                connection.execute(_REMEMBER, (conversation, account, now))
                self._writes += 1
                if self._writes % SWEEP_EVERY == 0:
                    connection.execute(SWEEP, (now - REMEMBERED_SECONDS,))
        except ProxyError as error:
            log.warning("the account of a conversation could not be saved for other processes: %s", error.message)

    def close(self) -> None:
        """Closes the file."""
        self._database.close()
