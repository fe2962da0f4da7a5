"""Where a renewed login waits while its own folder cannot be written: in memory that the host's processes share.

A process that keeps such a pair to itself leaves all others with a refresh token that is spent; each of them
would spend it again. So the pair is left where they look before they renew: in a file system that lives in
memory, under a name that only those can tell who know the refresh token it replaces.
"""

import hashlib
import json
import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

from codexproxy.login.tokens.tokens import BrokenLogin, Tokens
from codexproxy.storage.atomic_file import make_private_folder, read_regular, write_durably

# Shared memory of Linux; other systems have no such folder, and no refuge.
SHARED_MEMORY = Path("/dev/shm")

log = logging.getLogger(__name__)


class Refuge:
    """Pairs that could not be written, each found by the pair before it.

    Args:
        memory: A folder in memory; without it nothing is taken and nothing found.
    """

    def __init__(self, memory: Path = SHARED_MEMORY) -> None:
        self._memory = memory
        self._folder = memory / f"codexproxy-{os.geteuid()}"

    def leave(self, spent: Tokens, successor: Tokens) -> bool:
        """Takes the pair that follows ``spent``; whether other processes will find it."""
        if not self._memory.is_dir():
            return False
        try:
            make_private_folder(self._folder)
            if not self._is_ours():
                return False
            write_durably(self._path(spent), json.dumps(successor.to_json()).encode())
        except OSError as error:
            log.debug("The renewed login was not shared with other processes: %s", error)
            return False
        return True

    def successor(self, spent: Tokens) -> Tokens | None:
        """The pair that follows, None when there is none."""
        if not spent.refresh_token or not self._is_ours():
            return None
        try:
            return Tokens.from_json(json.loads(read_regular(self._path(spent))))
        except (OSError, ValueError, BrokenLogin):
            return None

    def clear(self, spent: Tokens) -> None:
        """Forgets the pair that follows; harmless when there is none."""
        with suppress(OSError):
            self._path(spent).unlink(missing_ok=True)

    def _path(self, spent: Tokens) -> Path:
        return self._folder / hashlib.sha256(f"successor of {spent.refresh_token}".encode()).hexdigest()

    def _is_ours(self) -> bool:
        # Anybody may make folders there, also one of this name.
        try:
            status = os.lstat(self._folder)
        except OSError:
            return False
        return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
