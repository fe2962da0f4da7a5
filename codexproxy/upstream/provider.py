"""A provider: one backend, what the configuration says of it, and its share of the host's queue."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, NoReturn

from codexproxy.errors import InvalidRequest, ProxyError
from codexproxy.protocol.request import Turn
from codexproxy.protocol.stream import EventStream
from codexproxy.provider_types import Capabilities
from codexproxy.upstream.base import Backend, Permit, Permits

DEFAULT_GROUP = "default"


@dataclass(frozen=True, slots=True)
class Provider:
    """One place where turns may go.

    Attributes:
        backend: Runs the turns.
        group: The group it belongs to.
        priority: Lower values are tried first.
        weight: Share among providers of the same priority.
        models: Models it serves; ``*`` and other shell patterns.
        account: What encrypted reasoning is bound to; the provider's own name when empty.
        queue: The host's queue of turns; None for a backend that needs no slot, or takes its own.
    """

    backend: Backend
    group: str = DEFAULT_GROUP
    priority: int = 0
    weight: int = 1
    models: tuple[str, ...] = ("*",)
    account: str = ""
    queue: Permits | None = None

    @property
    def name(self) -> str:
        """The provider's name."""
        return self.backend.name

    @property
    def capabilities(self) -> Capabilities:
        """What its backend can do."""
        return self.backend.capabilities

    @property
    def account_id(self) -> str:
        """The account whose encrypted reasoning it can read."""
        return self.account or self.backend.name

    def serves(self, model: str) -> bool:
        """Whether turns for this model may go there."""
        return "*" in self.models or any(fnmatchcase(model, pattern) for pattern in self.models)

    def open(self, turn: Turn) -> EventStream:
        """Starts a turn; it holds a slot of the queue until its stream is closed.

        Raises:
            RateLimited: No slot became free in time.
            ProxyError: See ``Backend.open``.
        """
        if self.queue is None:
            return self.backend.open(turn)
        shared = turn.execution.slots
        owner = turn.caller.key
        slot = shared.acquire(self.queue) if isinstance(shared, RequestSlots) else self.queue.acquire(owner=owner)
        try:
            stream = self.backend.open(turn)
        except BaseException:
            slot.release()
            raise
        stream.on_close(slot.release)
        return stream

    def compact(self, body: dict[str, Any]) -> dict[str, Any]:
        """Compacts a conversation; meanwhile it holds a slot of the queue.

        Raises:
            RateLimited: No slot became free in time.
            ProxyError: See ``Backend.compact``.
        """
        if self.queue is None:
            return self.backend.compact(body)
        slot = self.queue.acquire()
        try:
            return self.backend.compact(body)
        finally:
            slot.release()


class UnavailableBackend(Backend):
    """Stands in for a backend that a safety switch shuts out: refuses everything, with the reason.

    Args:
        name: The provider's name.
        capabilities: Those of its type.
        message: Why it is shut out, and what to change.
        code: The code callers see.
    """

    def __init__(self, name: str, capabilities: Capabilities, message: str, code: str) -> None:
        self.name = name
        self.capabilities = capabilities
        self._message = message
        self._code = code

    def _refuse(self) -> NoReturn:
        raise InvalidRequest(self._message, code=self._code)

    def problem(self) -> str:
        """See ``Backend.problem``."""
        return self._message

    def open(self, turn: Turn) -> EventStream:
        """See ``Backend.open``; always refused."""
        self._refuse()

    def models(self) -> list[dict[str, Any]]:
        """See ``Backend.models``; always refused."""
        self._refuse()

    def usage(self) -> dict[str, Any]:
        """See ``Backend.usage``; always refused."""
        self._refuse()

    def compact(self, body: dict[str, Any]) -> dict[str, Any]:
        """See ``Backend.compact``; always refused."""
        self._refuse()


class RequestSlots:
    """The slots of one request's turns.

    The first turn takes them all at once, and the request keeps them until it ends:
    if each turn waited for its own, two requests could hold half of their slots each
    and wait for the other's.

    Args:
        count: Turns of the request.
        owner: Whose they are.
    """

    def __init__(self, count: int, owner: str = "") -> None:
        self._count = count
        self._owner = owner
        # Made while a request is served, so gevent's own lock where gevent runs.
        self._lock = threading.Lock()
        self._slots: list[Permit] | None = None
        self._failure: ProxyError | None = None
        self._closed = False

    def acquire(self, queue: Permits) -> Permit:
        """A slot for one of the turns.

        Raises:
            ProxyError: The slots did not become free; every turn of the request gets this error.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure
            if self._slots is None:
                self._slots = self._acquire_all(queue)
            # A turn that is tried again gave its slot back before.
            return _SharedSlot(self, self._slots.pop()) if self._slots else queue.acquire(owner=self._owner)

    def _acquire_all(self, queue: Permits) -> list[Permit]:
        try:
            slots = list(queue.acquire_all(self._count, owner=self._owner))
        except ProxyError as failure:
            self._failure = failure
            raise
        # The request may have ended meanwhile; the turn that is here frees its own.
        while self._closed and len(slots) > 1:
            slots.pop().release()
        return slots

    def give_back(self, slot: Permit) -> None:
        """Takes a slot back from a turn that does not need it now."""
        if self._closed or self._slots is None:
            slot.release()
        else:
            self._slots.append(slot)

    def close(self) -> None:
        """Frees the slots that no turn has, and from now on each that is given back."""
        self._closed = True
        slots, self._slots = self._slots or [], []
        for slot in slots:
            slot.release()


class _SharedSlot:
    def __init__(self, shared: RequestSlots, slot: Permit) -> None:
        self._shared = shared
        self._slot: Permit | None = slot

    def release(self) -> None:
        """Gives the slot back; harmless when called twice."""
        slot, self._slot = self._slot, None
        if slot is not None:
            self._shared.give_back(slot)


def share_slots(turns: Sequence[Turn]) -> tuple[Sequence[Turn], RequestSlots | None]:
    """A request's turns with slots that they share, which must be closed; None for the one turn of most requests."""
    if len(turns) == 1:
        return turns, None
    slots = RequestSlots(len(turns), turns[0].caller.key)
    return [replace(turn, execution=replace(turn.execution, slots=slots)) for turn in turns], slots
