"""Disks that fail on purpose."""

import errno
import os
import signal
from pathlib import Path

from codexproxy.storage.atomic_file import Disk


class RefusingDisk(Disk):
    """Refuses one kind of step with an errno while ``refuses`` is set.

    Args:
        step: ``write``, ``flush``, ``rename`` or ``flush_folder``.
        number: The errno it says.
    """

    def __init__(self, step: str, number: int) -> None:
        self.step = step
        self.number = number
        self.refuses = True

    def _check(self, step: str) -> None:
        if self.refuses and step == self.step:
            raise OSError(self.number, os.strerror(self.number))

    def write(self, descriptor: int, data: bytes) -> None:
        self._check("write")
        super().write(descriptor, data)

    def flush(self, descriptor: int) -> None:
        self._check("flush")
        super().flush(descriptor)

    def rename(self, source: str, target: Path) -> None:
        self._check("rename")
        super().rename(source, target)

    def flush_folder(self, folder: Path) -> None:
        self._check("flush_folder")
        super().flush_folder(folder)


class FullDisk(Disk):
    """Takes nothing while ``full`` is set for which it has no room already."""

    def __init__(self) -> None:
        self.full = False

    def write(self, descriptor: int, data: bytes) -> None:
        if self.full and os.fstat(descriptor).st_blocks * 512 < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(descriptor, data)


class FatalDisk(Disk):
    """Kills the process at one moment of a write, as ``kill -9`` would.

    Args:
        moment: ``before write``, ``in write``, ``before flush``, ``before rename``, ``after rename``,
            ``after flush_folder``.
    """

    def __init__(self, moment: str) -> None:
        self.moment = moment

    def _pass(self, moment: str) -> None:
        if moment == self.moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, descriptor: int, data: bytes) -> None:
        self._pass("before write")
        if self.moment == "in write":
            super().write(descriptor, data[: len(data) // 2])
            self._pass("in write")
        super().write(descriptor, data)

    def flush(self, descriptor: int) -> None:
        self._pass("before flush")
        super().flush(descriptor)

    def rename(self, source: str, target: Path) -> None:
        self._pass("before rename")
        super().rename(source, target)
        self._pass("after rename")

    def flush_folder(self, folder: Path) -> None:
        super().flush_folder(folder)
        self._pass("after flush_folder")
