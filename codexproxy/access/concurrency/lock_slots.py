"""Numbered places of a host, each a locked file, so that a process that dies gives its own back.

The files stay open, since whoever waits asks for every one of them again and again.
"""

import fcntl
import os
from pathlib import Path

from codexproxy.storage.locks import try_lock


class Places:
    """Some places; whoever names the same folder shares them.

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
