"""How many turns of one key run at the same time, on all workers of a host together.

A turn holds a locked file while it runs, so a process that dies gives its
places back, and no count can be wrong.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path

from codexproxy.errors import RateLimited
from codexproxy.guard.identity import Identity
from codexproxy.guard.slots import Slot
from codexproxy.state.lock import try_lock


class ParallelTurns:
    """The places of all keys.

    Args:
        folder: Where the lock files are; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def acquire(self, identity: Identity) -> Slot:
        """Takes a place for one turn; whoever takes it must ``release`` it.

        Raises:
            RateLimited: All places of the key are taken.
        """
        allowed = identity.limits.max_parallel
        if not allowed:
            return Slot(lambda: None, 0.0)
        for path in self._places(identity.name, allowed):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if try_lock(descriptor):
                return Slot(partial(_unlock, descriptor), 0.0)
            os.close(descriptor)
        raise RateLimited(
            f"The key '{identity.name}' may run {allowed} turns at the same time, and does. "
            "Please wait for one of them to end.",
            retry_after=1,
        )

    @contextmanager
    def held(self, identity: Identity) -> Iterator[None]:
        """Holds a place for the length of a ``with`` block.

        Raises:
            RateLimited: All places of the key are taken.
        """
        slot = self.acquire(identity)
        try:
            yield
        finally:
            slot.release()

    def _places(self, name: str, allowed: int) -> Iterator[Path]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stem = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        yield from (self._folder / f"{stem}-{number}" for number in range(allowed))


def _unlock(descriptor: int) -> None:
    # By name, since a forked child may hold a copy of the descriptor for a moment.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
