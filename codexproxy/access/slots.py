"""A semaphore for all workers of a host, with one fair queue.

A slot is a locked file, and so is a ticket in the queue: both are freed when
their process dies. The files of slots stay open, since each waiting turn tries
them again and again. Tickets are named by their round and the host's monotonic
clock; only the first one may take a slot, so no turn overtakes another, in
whatever worker it waits. Each owner has one ticket in a round: an owner with a
hundred requests delays another one's single request by one turn, not by all.
Waiting is a loop of non-blocking attempts and sleeps; tickets further back sleep
longer. Each attempt touches the ticket: a process that hangs is passed over until
it continues. A request of several turns has one ticket and takes its slots all at
once, so that two such requests cannot wait for each other. The queue is bounded:
a request that would stand behind too many is refused at once.
"""

import fcntl
import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path

from codexproxy.errors import InvalidRequest, Overloaded, RateLimited
from codexproxy.storage.atomic_file import make_private_folder
from codexproxy.storage.files.locks import try_lock


class LockFileSlots:
    """A fixed number of slots, shared by all who name the same folder.

    Args:
        folder: Where the files are.
        count: How many places there are.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count
        self._process = os.getpid()
        self._files: dict[int, int] = {}
        self._ours: dict[int, object] = {}

    def take(self) -> int | None:
        """Takes a place and returns its number; None when all are taken."""
        return next(iter(self.take_all(1)), None)

    def take_all(self, count: int) -> list[int]:
        """Takes so many places and returns their numbers; takes none, ``[]``, when not so many are free."""
        self._notice_fork()
        taken: list[int] = []
        try:
            for number in range(self._count):
                if self._try(number):
                    taken.append(number)
                if len(taken) == count:
                    return taken
        except BaseException:
            self._free_all(taken)
            raise
        self._free_all(taken)
        return []

    def free(self, number: int) -> None:
        """Gives back a place that was taken."""
        # Unlocked by name, since a forked child may hold a copy of the descriptor for a moment.
        fcntl.flock(self._files[number], fcntl.LOCK_UN)
        self._ours.pop(number, None)

    def _free_all(self, numbers: list[int]) -> None:
        for number in numbers:
            self.free(number)

    def busy(self) -> int:
        """How many are taken."""
        self._notice_fork()
        untaken = [number for number in range(self._count) if self._try(number)]
        for number in untaken:
            self.free(number)
        return self._count - len(untaken)

    def _try(self, number: int) -> bool:
        # The lock does not keep out other threads of this process, but the first to write its claim does.
        claim = object()
        if self._ours.setdefault(number, claim) is not claim:
            return False
        try:
            taken = try_lock(self._open(number))
        except BaseException:
            self._ours.pop(number, None)
            raise
        if not taken:
            self._ours.pop(number, None)
        return taken

    def _open(self, number: int) -> int:
        descriptor = self._files.get(number)
        if descriptor is None:
            descriptor = os.open(self._folder / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._files[number] = descriptor
        return descriptor

    def _notice_fork(self) -> None:
        # A child shares its parent's locks; it begins with files of its own.
        if self._process != os.getpid():
            self._process = os.getpid()
            for descriptor in self._files.values():
                os.close(descriptor)
            self._files, self._ours = {}, {}


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
        self._places = LockFileSlots(folder / "places", limit)
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
            if not admitted and self._queue_is_full(ticket):
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

    def _queue_is_full(self, ticket: str) -> bool:
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
                # Opening one that is being made, for its lock, could keep its maker from locking it.
                if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                    self._is_alive(path.name)

    def _timed_out(self) -> RateLimited:
        return RateLimited(
            f"All {self.limit} slots are in use, and none became free within {self._timeout:g} seconds. "
            "Please try again in a moment.",
            code="queue_timeout",
            retry_after=max(1.0, min(self._timeout, 30.0)),
        )

    def _full(self) -> Overloaded:
        return Overloaded(
            f"All {self.limit} slots are in use and {self._most_waiting} requests are queued already. "
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
