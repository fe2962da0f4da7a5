"""One lock for all processes, threads and greenlets of a host.

A blocking ``flock`` in one greenlet stops every stream of its worker, so the
wait is a loop of non-blocking attempts with short sleeps, and the members of
one process queue at a lock of their own first. ``flock`` and not ``lockf``:
the latter is lost as soon as any descriptor of the file is closed.
"""

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from codexproxy.errors import ProxyError
from codexproxy.storage.atomic_file import make_private_folder

FIRST_SLEEP = 0.005
LONGEST_SLEEP = 0.05

# A disk that takes no new file still lets its folder be locked.
_UNWRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT})


class LockTimeout(ProxyError):
    """Somebody else kept the lock for longer than the caller would wait."""

    status = 503
    code = "locked"


class ProcessLock:
    """A lock among the threads and greenlets of one process.

    It is made at first use, and anew after a fork: a lock that is older than
    gevent's patches blocks the hub, and one copied while held never opens.
    """

    def __init__(self) -> None:
        self._lock: tuple[int, threading.Lock] | None = None

    @contextmanager
    def held(self, timeout: float, name: str) -> Iterator[None]:
        """Holds the lock for the length of a ``with`` block.

        Args:
            timeout: Seconds to wait for it; 0 tries once.
            name: What is locked, for the error.

        Raises:
            LockTimeout: Another greenlet or thread still has it.
        """
        lock = self._current()
        if not lock.acquire(timeout=max(timeout, 0)):
            raise LockTimeout(f"{name} is in use within this process. Please try again.")
        try:
            yield
        finally:
            lock.release()

    def _current(self) -> threading.Lock:
        pid = os.getpid()
        if self._lock is None or self._lock[0] != pid:
            self._lock = (pid, threading.Lock())
        return self._lock[1]


class HostLock:
    """A mutual exclusion between everybody on this host who names the same file.

    The file stays when the lock is released, and a process that dies gives the
    lock back. Not reentrant.

    Args:
        path: The lock file; made with its folder when missing.
        clock: Monotonic seconds.
        sleep: Waits that many seconds; lets other greenlets run.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.path = path
        self._clock = clock
        self._sleep = sleep
        self._queue = ProcessLock()

    @contextmanager
    def held(self, timeout: float) -> Iterator[None]:
        """Holds the lock for the length of a ``with`` block.

        Args:
            timeout: Seconds to wait for it; 0 tries once.

        Raises:
            LockTimeout: Somebody else still has it.
            OSError: Neither the file nor its folder can be opened.
        """
        deadline = self._now() + timeout
        with self._queue.held(timeout, self.path.name):
            descriptor = self._open()
            try:
                self._wait(descriptor, deadline)
                yield
            finally:
                # Unlocked by name, since a forked child may hold a copy of the descriptor.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)

    def _wait(self, descriptor: int, deadline: float) -> None:
        pause = FIRST_SLEEP
        while not try_lock(descriptor):
            if self._now() >= deadline:
                raise LockTimeout(f"{self.path.name} is in use by another process. Please try again.")
            (self._sleep or time.sleep)(pause)
            pause = min(pause * 2, LONGEST_SLEEP)

    def _open(self) -> int:
        try:
            make_private_folder(self.path.parent)
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
        return self._open_unwritable()

    def _open_unwritable(self) -> int:
        try:
            return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)

    def _now(self) -> float:
        return (self._clock or time.monotonic)()


def try_lock(descriptor: int) -> bool:
    """Locks an open file if nobody else has it; never waits."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Leadership:
    """One office that at most one process of the host holds, until it ends.

    The office is a locked file, so that a leader's death frees it at once and
    the next who asks has it. A process that cannot open the file never leads.

    Args:
        path: The file; one per office.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seat: tuple[int, int] | None = None

    def is_leader(self) -> bool:
        """Whether this process leads; takes the office when it is free. Cheap once it leads."""
        pid = os.getpid()
        if self._seat is not None and self._seat[0] == pid:
            return True
        self._leave_parents_seat()
        try:
            descriptor = self._open()
        except OSError:
            return False
        if not try_lock(descriptor):
            os.close(descriptor)
            return False
        self._seat = (pid, descriptor)
        return True

    def resign(self) -> None:
        """Gives the office up; harmless for one who does not hold it."""
        if self._seat is not None:
            os.close(self._seat[1])
            self._seat = None

    def _leave_parents_seat(self) -> None:
        # A fork shares the lock with the parent. Closing our copy of the
        # descriptor leaves it to the parent alone.
        self.resign()

    def _open(self) -> int:
        make_private_folder(self._path.parent)
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
