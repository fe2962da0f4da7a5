"""One stable UUID per conversation, shared by all processes of the host.

The UUID carries the time at which the conversation began (version 7, RFC 9562
§5.7): upstream's own client makes such ids, and there is a report that the
prompt cache heeds no others (docs/reference/requests.md#prompt-cache).
"""

import logging
import secrets
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from codexproxy.errors import ProxyError
from codexproxy.storage.sqlite.database import BRIEFLY, Database

# Seconds after which a conversation nobody continued is forgotten.
LASTS = 30 * 24 * 3600.0
# Conversations that are kept, those continued last; some 40 MB.
MOST = 200_000
# Conversations one process keeps at hand.
AT_HAND = 10_000
_SWEEP_EVERY = 500

_SCHEMA = (
    "CREATE TABLE conversations (start TEXT PRIMARY KEY, id TEXT NOT NULL, seen REAL NOT NULL)",
    "CREATE INDEX conversations_seen ON conversations (seen)",
)
_BEGIN = "INSERT INTO conversations VALUES (?, ?, ?) ON CONFLICT (start) DO UPDATE SET seen = excluded.seen"
_FIND = "SELECT id FROM conversations WHERE start = ?"
_SWEEP = (
    "DELETE FROM conversations WHERE seen <="
    " max(?, coalesce((SELECT seen FROM conversations ORDER BY seen DESC LIMIT 1 OFFSET ?), 0))"
)

log = logging.getLogger(__name__)


class Conversations:
    """Conversation starts and the ids given to them.

    Args:
        path: The database file.
        clock: Epoch seconds.
        most: Conversations that are kept.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, most: int = MOST) -> None:
        self._database = Database(path, _SCHEMA, timeout=BRIEFLY)
        self._clock = clock
        self._most = most
        self._at_hand: OrderedDict[str, str] = OrderedDict()
        self._begun = 0

    def id_of(self, start: str) -> str:
        """The id of the conversation that starts so; the start itself while the file cannot be used.

        Args:
            start: A fingerprint of its start, itself a UUID.
        """
        known = self._at_hand.get(start)
        if known is None:
            known = self._shared(start)
            self._at_hand[start] = known
            while len(self._at_hand) > AT_HAND:
                self._at_hand.popitem(last=False)
        return known

    def _shared(self, start: str) -> str:
        now = self._clock()
        self._begun += 1
        try:
            with self._database.transaction() as connection:
                connection.execute(_BEGIN, (start, uuid7(now), now))
                if self._begun % _SWEEP_EVERY == 0:
                    connection.execute(_SWEEP, (now - LASTS, self._most))
                return str(connection.execute(_FIND, (start,)).fetchone()[0])
        except ProxyError as error:
            log.warning("conversations of other processes cannot be read: %s", error.message)
            return start


def uuid7(now: float) -> str:
    """A UUID of version 7 for these epoch seconds."""
    value = int(now * 1000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62))
