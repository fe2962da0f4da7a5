"""How many turns of one key run at the same time, on all workers of a host together.

A turn holds a locked file while it runs, so a process that dies gives its
places back, and no count can be wrong.
"""

import fcntl
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path

from codexproxy.access.authorization import Identity
from codexproxy.access.slots import Slot, too_many_answers
from codexproxy.errors import RateLimited
from codexproxy.storage.atomic_file import make_private_folder
from codexproxy.storage.files.locks import try_lock

log = logging.getLogger(__name__)


class ParallelTurns:
    """The places of all keys.

    While the folder cannot be written, each process counts its own turns only.

    Args:
        folder: Where the lock files are; made when missing.
        most: Turns of all keys that may run at the same time; None where nothing limits them.
    """

    def __init__(self, folder: Path, most: int | None = None) -> None:
        self._folder = folder
        self._most = most
        self._own: Counter[str] = Counter()

    def acquire(self, identity: Identity, count: int = 1) -> Slot:
        """Takes the places of one request, all or none; they must be released together.

        Args:
            identity: Who asks.
            count: Turns of the request.

        Raises:
            InvalidRequest: The request could never have so many.
            RateLimited: Not so many places of the key are free.
        """
        allowed = identity.limits.max_parallel
        if self._most is not None and count > self._most:
            raise too_many_answers(count, self._most, "This service")
        if not allowed:
            return Slot(lambda: None, 0.0)
        if count > allowed:
            raise too_many_answers(count, allowed, f"The key '{identity.name}'")
        try:
            slot = self._on_disk(identity.owner, allowed, count)
        except OSError as error:
            log.warning("the turns of a key are counted in this process only: %s", error.strerror)
            slot = self._in_process(identity.owner, allowed, count)
        if slot is not None:
            return slot
        raise RateLimited(
            f"The key '{identity.name}' has reached its limit of {allowed} concurrent turns. "
            "Please wait for one of them to end.",
            retry_after=1,
        )

    def _on_disk(self, owner: str, allowed: int, count: int) -> Slot | None:
        taken: list[int] = []
        try:
            for path in self._places(owner, allowed):
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                if try_lock(descriptor):
                    taken.append(descriptor)
                else:
                    os.close(descriptor)
                if len(taken) == count:
                    return Slot(partial(_unlock, taken), 0.0)
        except OSError:
            _unlock(taken)
            raise
        _unlock(taken)
        return None

    def _in_process(self, owner: str, allowed: int, count: int) -> Slot | None:
        if self._own[owner] + count > allowed:
            return None
        self._own[owner] += count
        return Slot(partial(self._own.subtract, {owner: count}), 0.0)

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

    def _places(self, owner: str, allowed: int) -> Iterator[Path]:
        make_private_folder(self._folder)
        stem = sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        yield from (self._folder / f"{stem}-{number}" for number in range(allowed))


def _unlock(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        # By name, since a forked child may hold a copy of the descriptor for a moment.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
