"""What every API format offers, and the SSE encoding they share."""

from collections.abc import Sequence
from typing import Any, Protocol

from codexproxy.errors import ProxyError
from codexproxy.protocol.events import Batch, encode_json
from codexproxy.protocol.request import Body, Caller, Turn

DONE = b"data: [DONE]\n\n"


class Renderer(Protocol):
    """Turns the events of one stream into the bytes of one client's stream.

    ``render`` is called once per batch and returns one write, ``b""`` where
    nothing of the batch is shown. The batch with the terminal event is the
    last one; its bytes hold the API format's closing chunks and terminator.
    ``fail`` may be called at any time instead of a further ``render``, once.
    """

    def render(self, batch: Batch) -> bytes:
        """The bytes the client sees of these events.

        Raises:
            ProxyError: The answer turned out to be none; ``fail`` follows.
        """

    def fail(self, error: ProxyError) -> bytes:
        """The API format's own error shape, then its terminator."""


class Api(Protocol):
    """One public API: its requests in, its answers out.

    Attributes:
        name: As in logs and metrics, ``chat``.
        forwards_failures: Whether streams pass upstream's own failure events on,
            because the API format's clients act on them.
        stateful: Whether answers are stored, and later requests may lean on them.
    """

    name: str
    forwards_failures: bool
    stateful: bool

    def parse(self, payload: dict[str, Any], caller: Caller) -> Turn:
        """Checks a request's JSON object and makes it a turn.

        Raises:
            InvalidRequest: ``param`` names the path of the offending field.
        """

    def bodies(self, turn: Turn) -> list[Body]:
        """The body of each answer the turn asks for, before it is planned; one for most turns."""

    def renderers(self, turn: Turn) -> Sequence[Renderer]:
        """A fresh renderer per answer, all for one shared stream: the last to end writes the terminator."""

    def repair_request(self, turn: Turn, response: dict[str, Any]) -> Body | None:
        """The body of one more turn for an answer that must not be delivered as it is; None for all others."""

    def notes(self, turn: Turn) -> tuple[str, ...]:
        """What is told beside a complete answer, for ``x-codexproxy-adapted``."""

    def complete(self, turn: Turn, responses: list[dict[str, Any]]) -> dict[str, Any]:
        """The final JSON object, from one folded Response object per answer."""


def data_line(value: Any) -> bytes:
    """One SSE message that holds this value as JSON."""
    return b"data: " + encode_json(value) + b"\n\n"
