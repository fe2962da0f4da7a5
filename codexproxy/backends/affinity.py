"""Which account a conversation belongs to, so that it stays there.

A conversation's prompt cache and its encrypted reasoning are worth something
only where they were made.
"""

from collections import OrderedDict
from hashlib import sha256
from typing import Protocol

from codexproxy.turns.turn import Turn

# Conversations one process remembers.
REMEMBERED = 20_000


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
