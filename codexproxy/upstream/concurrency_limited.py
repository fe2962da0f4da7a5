"""A backend whose turns wait for a place among all turns of the host."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from codexproxy.errors import ProxyError
from codexproxy.protocol.request import Turn
from codexproxy.protocol.stream import EventStream
from codexproxy.upstream.base import Backend
from codexproxy.upstream.codex_cli.process.concurrency import Permit, Permits


class Party:
    """The places of one request's turns.

    They are taken all at once, by the turn that comes first, and kept until the
    request lets them go: were each turn to wait for its own, two requests could
    hold half of their places each and wait for the other's.

    Args:
        count: Turns of the request.
        owner: Whose they are.
    """

    def __init__(self, count: int, owner: str = "") -> None:
        self._count = count
        self._owner = owner
        # Made while a request is served, so gevent's own lock where gevent runs.
        self._lock = threading.Lock()
        self._places: list[Permit] | None = None
        self._failure: ProxyError | None = None
        self._closed = False

    def acquire(self, slots: Permits) -> Permit:
        """A place for one of the turns.

        Raises:
            ProxyError: The places could not be had; each turn is told.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure
            if self._places is None:
                self._places = self._taken(slots)
            # A turn that is tried again gave its place back before.
            return _Lent(self, self._places.pop()) if self._places else slots.acquire(owner=self._owner)

    def _taken(self, slots: Permits) -> list[Permit]:
        try:
            places = list(slots.acquire_all(self._count, owner=self._owner))
        except ProxyError as failure:
            self._failure = failure
            raise
        # The request may have ended meanwhile; the turn that is here frees its own.
        while self._closed and len(places) > 1:
            places.pop().release()
        return places

    def give_back(self, place: Permit) -> None:
        """Takes a place back from a turn that does not need it now."""
        if self._closed or self._places is None:
            place.release()
        else:
            self._places.append(place)

    def close(self) -> None:
        """Frees the places that no turn has, and from now on each that is given back."""
        self._closed = True
        places, self._places = self._places or [], []
        for place in places:
            place.release()


class _Lent:
    def __init__(self, party: Party, place: Permit) -> None:
        self._party = party
        self._place: Permit | None = place

    def release(self) -> None:
        """Gives the place back; harmless when called twice."""
        place, self._place = self._place, None
        if place is not None:
            self._party.give_back(place)


def together(turns: Sequence[Turn]) -> tuple[Sequence[Turn], Party | None]:
    """A request's turns as a party, which must be closed; None for the one turn of most requests."""
    if len(turns) == 1:
        return turns, None
    party = Party(len(turns), turns[0].caller.key)
    return [replace(turn, execution=replace(turn.execution, slots=party)) for turn in turns], party


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
        party, owner = turn.execution.slots, turn.caller.key
        place = party.acquire(self._slots) if isinstance(party, Party) else self._slots.acquire(owner=owner)
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
