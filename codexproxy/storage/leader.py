"""Who of a host's processes does what only one should do."""

import os
from pathlib import Path

from codexproxy.storage.atomic_file import make_private_folder
from codexproxy.storage.locks import try_lock


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
