"""A backend whose turns wait for a place among all turns of the host."""

from typing import Any

from codexproxy.backends.base import Backend
from codexproxy.backends.codex_exec.permits import Permits
from codexproxy.turns.stream import EventStream
from codexproxy.turns.turn import Turn


class SlottedBackend:
    """Another backend behind a bounded, fair queue.

    Args:
        inner: The backend itself.
        slots: The places, shared by everybody who runs turns on this host.
    """

    def __init__(self, inner: Backend, slots: Permits) -> None:
        self.name = inner.name
        self.kind = inner.kind
        self.inner = inner
        self._slots = slots

    def open(self, turn: Turn) -> EventStream:
        """See ``Backend.open``; the place is held until the stream is closed.

        Raises:
            RateLimited: No place became free in time.
        """
        place = self._slots.acquire()
        try:
            stream = self.inner.open(turn)
        except BaseException:
            place.release()
            raise
        stream.on_close(place.release)
        return stream

    def problem(self) -> str | None:
        """What keeps the backend from working, where it can tell."""
        ask = getattr(self.inner, "problem", None)
        return ask() if ask is not None else None

    def models(self) -> list[dict[str, Any]]:
        """See ``Backend.models``."""
        return self.inner.models()

    def usage(self) -> dict[str, Any]:
        """See ``Backend.usage``."""
        return self.inner.usage()

    def compact(self, body: dict[str, Any]) -> dict[str, Any]:
        """See ``Backend.compact``; it takes a place like a turn.

        Raises:
            RateLimited: No place became free in time.
        """
        place = self._slots.acquire()
        try:
            return self.inner.compact(body)
        finally:
            place.release()
