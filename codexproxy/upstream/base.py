"""What every backend offers."""

from typing import Any, Protocol

from codexproxy.protocol.request import Turn
from codexproxy.protocol.stream import EventStream


class Backend(Protocol):
    """A place where turns run.

    Attributes:
        name: The provider's name, as in ``x-codexproxy-backend``.
        kind: Its type: ``codex``, ``codex-cli`` or ``openai``.
    """

    name: str
    kind: str

    def open(self, turn: Turn) -> EventStream:
        """Starts the turn; its body is sent as it is.

        Raises:
            ProxyError: The turn was refused before any event came.
        """

    def models(self) -> list[dict[str, Any]]:
        """The live catalogue, in the upstream's own ModelInfo shape (docs/reference/models.md#the-catalogue)."""

    def usage(self) -> dict[str, Any]:
        """The account's quota windows (docs/reference/quota.md#the-usage-report)."""

    def compact(self, body: dict[str, Any]) -> dict[str, Any]:
        """Compacts a conversation (docs/reference/requests.md#compaction).

        Raises:
            NotOffered: Upstream lacks this.
        """
