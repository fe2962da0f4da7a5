"""A fixed number of places for all workers of a host, and one fair queue for them.

A place is a locked file, and so is a ticket in the queue: a process that dies
gives back both. Tickets are named by their round and the host's monotonic
clock; only the first one may take a place, so nobody overtakes, in whatever
worker they wait. Each owner has one ticket in a round, so that whoever asks
a hundred times keeps another who asks once waiting for one turn, not for all.
Waiting is a loop of non-blocking attempts and sleeps; those further back sleep longer.
Each attempt touches the ticket: a process that hangs is passed over until it goes on.
A request of several turns has one ticket and takes its places all at once, so that
two of them cannot wait for each other's.
The queue is bounded: whoever would have to stand behind too many is told so at once.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path

from codexproxy.access.concurrency.lock_slots import Places
from codexproxy.errors import InvalidRequest, Overloaded, RateLimited
from codexproxy.storage.atomic_file import make_private_folder
from codexproxy.storage.locks import try_lock

# Sleep of the first in the queue, in seconds, and the longest sleep of anybody.
NEXT_SLEEP = 0.01
LONGEST_SLEEP = 0.25

# How many may wait, unless told otherwise, and the seconds after which one who may not should ask again.
MOST_WAITING = 100
COME_BACK = 5.0

# A ticket that its owner did not touch for so many nanoseconds is passed over; four times the longest sleep.
_HANGS_AFTER = 1_000_000_000

# Nobody needs this long to put a ticket into the queue.
_ABANDONED_AFTER = 60.0

_TICKET_NUMBERS = itertools.count()


class Slot:
    """A place that is taken until it is released.

    Args:
        free: Gives it back.
        waited: Seconds its holder stood in the queue.
    """

    def __init__(self, free: Callable[[], object], waited: float) -> None:
        self._free: Callable[[], object] | None = free
        self.waited = waited

    def release(self) -> None:
        """Gives the place back; harmless when called twice."""
        free, self._free = self._free, None
        if free is not None:
            free()


class Slots:
    """The places and their queue.

    Args:
        folder: Where the locked files are; made when missing. Whoever names the same folder shares the places.
        limit: How many places there are.
        timeout: Longest wait for one, in seconds; 0 does not wait.
        most_waiting: How many may wait, on all workers; 0 lets nobody wait.
        observe: Told the seconds of each wait, and whether it ended with a place.
        clock: Monotonic seconds.
        sleep: Waits that many seconds; lets other greenlets run.
    """

    def __init__(
        self,
        folder: Path,
        limit: int,
        timeout: float,
        *,
        most_waiting: int = MOST_WAITING,
        observe: Callable[[float, bool], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.limit = limit
        self._timeout = timeout
        self._most_waiting = most_waiting
        self._observe = observe or (lambda waited, taken: None)
        self._clock = clock
        # Looked up at each call, since gevent may patch it later.
        self._sleep = sleep or (lambda seconds: time.sleep(seconds))
        self._places = Places(folder / "places", limit)
        self._queue = folder / "queue"
        for path in (folder / "places", self._queue):
            make_private_folder(path)
        self._remove_unfinished()

    def acquire(self, gone: Callable[[], bool] | None = None, *, owner: str = "") -> Slot:
        """Takes a place, of each owner's turns the first come first; whoever takes it must ``release`` it.

        Args:
            gone: Whether the client has left; asked while waiting.
            owner: Whose turn it is.

        Raises:
            RateLimited: ``queue_timeout``, also for a client that has left.
            Overloaded: ``queue_full``, at once.
        """
        return self.acquire_all(1, gone, owner=owner)[0]

    def acquire_all(self, count: int, gone: Callable[[], bool] | None = None, *, owner: str = "") -> list[Slot]:
        """Takes so many places at once, or none; each must be released.

        Args:
            count: How many.
            gone: See ``acquire``.
            owner: See ``acquire``.

        Raises:
            InvalidRequest: There are not so many.
            RateLimited: See ``acquire``.
            Overloaded: See ``acquire``.
        """
        if count > self.limit:
            raise too_many_answers(count, self.limit, "This service")
        began = self._clock()
        with self._ticket(owner) as ticket:
            places = self._wait(ticket, count, began + self._timeout, gone or (lambda: False))
        waited = self._clock() - began
        self._observe(waited, bool(places))
        if not places:
            raise self._timed_out()
        return [Slot(partial(self._places.free, place), waited) for place in places]

    @contextmanager
    def held(self, gone: Callable[[], bool] | None = None) -> Iterator[Slot]:
        """Holds a place for the length of a ``with`` block; see ``acquire``."""
        slot = self.acquire(gone)
        try:
            yield slot
        finally:
            slot.release()

    def waiting(self) -> int:
        """How many stand in the queue, on all workers."""
        return sum(1 for name in self._tickets() if self._is_alive(name))

    def busy(self) -> int:
        """How many places are taken, on all workers."""
        return self._places.busy()

    def _wait(self, ticket: str, count: int, until: float, gone: Callable[[], bool]) -> list[int]:
        admitted = False
        while True:
            self._touch(ticket)
            position = self._position(ticket)
            places = self._places.take_all(count) if position == 0 else []
            left = until - self._clock()
            if places or left <= 0 or gone():
                return places
            # Whoever is in the queue stays in it.
            if not admitted and self._is_beyond(ticket):
                raise self._full()
            admitted = True
            self._sleep(min(NEXT_SLEEP * (1 + position), LONGEST_SLEEP, left))

    def _position(self, ticket: str) -> int:
        """How many tickets, at least, stand before this one; what dead owners left is removed."""
        names = self._tickets()
        for place, name in enumerate(names):
            if name == ticket:
                return 0
            if self._is_alive(name) and not self._hangs(name):
                return max(1, names.index(ticket) - place) if ticket in names else 1
        return 0

    def _is_beyond(self, ticket: str) -> bool:
        """Whether as many as may wait stand before this ticket."""
        before = [name for name in self._tickets() if name < ticket]
        # What dead owners left is looked for only when it matters, since it costs a look at every ticket.
        return len(before) >= self._most_waiting and sum(map(self._is_alive, before)) >= self._most_waiting

    @contextmanager
    def _ticket(self, owner: str) -> Iterator[str]:
        whose = sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        name = f"{self._round(whose):010d}-{time.monotonic_ns():020d}-{os.getpid()}-{next(_TICKET_NUMBERS)}-{whose}"
        hidden, path = self._queue / f".{name}", self._queue / name
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Seen by the others only once it is locked; until then they would take it for a dead one's.
            try_lock(descriptor)
            self._touch(hidden.name)
            hidden.rename(path)
            yield name
        finally:
            for left in (path, hidden):
                left.unlink(missing_ok=True)
            os.close(descriptor)

    def _round(self, whose: str) -> int:
        """The round of an owner's next ticket: behind those that wait already, or the one that is served now."""
        names = self._tickets()
        own = [_round_of(name) + 1 for name in names if name.endswith(f"-{whose}")]
        return max(own, default=_round_of(names[0]) if names else 0)

    def _tickets(self) -> list[str]:
        return sorted(name for name in os.listdir(self._queue) if not name.startswith("."))

    def _is_alive(self, name: str) -> bool:
        path = self._queue / name
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            if not try_lock(descriptor):
                return True
            path.unlink(missing_ok=True)
            return False
        finally:
            os.close(descriptor)

    def _touch(self, name: str) -> None:
        # The host's monotonic clock again, since the time of day may be set.
        now = time.monotonic_ns()
        with suppress(FileNotFoundError):
            os.utime(self._queue / name, ns=(now, now))

    def _hangs(self, name: str) -> bool:
        try:
            return time.monotonic_ns() - os.stat(self._queue / name).st_mtime_ns > _HANGS_AFTER
        except FileNotFoundError:
            return False

    def _remove_unfinished(self) -> None:
        for path in self._queue.glob(".*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                    path.unlink()

    def _timed_out(self) -> RateLimited:
        return RateLimited(
            f"All {self.limit} places are taken, and none became free within {self._timeout:g} seconds. "
            "Please try again in a moment.",
            code="queue_timeout",
            retry_after=max(1.0, min(self._timeout, 30.0)),
        )

    def _full(self) -> Overloaded:
        return Overloaded(
            f"All {self.limit} places are taken, and {self._most_waiting} others wait for one already. "
            f"Please try again in {COME_BACK:g} seconds.",
            code="queue_full",
            retry_after=COME_BACK,
            retryable=False,
        )


def _round_of(ticket: str) -> int:
    return int(ticket.partition("-")[0])


def too_many_answers(count: int, allowed: int, who: str, span: str = "at the same time") -> InvalidRequest:
    """The refusal of a request that could never have all its turns.

    Args:
        count: Turns it asks for.
        allowed: Turns that may run.
        who: What allows no more, as ``This service``.
        span: Within which time.
    """
    return InvalidRequest(
        f"{who} may run {allowed} turns {span}, and the request asks for {count} answers, each a turn of its own. "
        "Please ask for fewer answers per request (`n`, or the number of prompts).",
        code="invalid_value",
        param="n",
    )
