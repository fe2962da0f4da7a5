"""Where a login is kept."""

import errno
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from codexproxy.errors import ProxyError
from codexproxy.login.tokens.tokens import BrokenLogin, Tokens
from codexproxy.storage.atomic_file import Disk, Spare, read_regular, sweep, write_durably
from codexproxy.storage.files.locks import HostLock, LockTimeout

LITTER_AGE = 3600.0
# Bytes that are kept free for the next pair: more than any login that was seen.
ROOM = 16 * 1024

_ADVICE = {
    errno.ENOSPC: "The disk is full; free some space.",
    errno.EFBIG: "The disk quota is used up; free some space.",
    errno.EDQUOT: "The disk quota is used up; free some space.",
    errno.EROFS: "The disk is read-only; mount it writable or set DATA_DIR to a folder that is.",
    errno.EACCES: "Permission is denied; check who owns DATA_DIR.",
    errno.EPERM: "Permission is denied; check who owns DATA_DIR.",
}


class StorageFailed(ProxyError):
    """The disk would not read or keep the login."""

    code = "storage_failed"


class TokenStore(Protocol):
    """One place that holds one login.

    Attributes:
        name: What the place is called in messages.
        refreshes: Whether its refresh token is ours to spend.
    """

    @property
    def name(self) -> str: ...

    @property
    def refreshes(self) -> bool: ...

    def load(self) -> Tokens | None:
        """The login, None where there is none.

        Raises:
            BrokenLogin: What is there cannot be understood.
            StorageFailed: It cannot be read.
        """

    def save(self, tokens: Tokens) -> None:
        """Keeps a login, durably and as a whole.

        Raises:
            StorageFailed: The disk would not; what was there is still there.
        """

    def reserve(self) -> None:
        """Makes sure that the next pair can be kept even if the disk gets full; cheap when that is so.

        Raises:
            StorageFailed: The disk has no room, or cannot be written.
        """

    def delete(self) -> None:
        """Forgets the login; harmless when there is none.

        Raises:
            StorageFailed: The disk would not.
        """

    def version(self) -> object:
        """Something that differs whenever the content does; cheap to ask for. None where nothing is."""

    def lock(self, timeout: float) -> AbstractContextManager[None]:
        """Excludes everybody else on this host from changing the login.

        Args:
            timeout: Seconds to wait.

        Raises:
            LockTimeout: Somebody else has it.
        """


class FileTokenStore:
    """The login in a JSON file of its own, ``tokens.json``.

    Mode 0600, in a folder of mode 0700 when it has to be made; written to a
    temporary file, synced and renamed, so that it is whole at every moment.

    Args:
        path: The file; ``.lock`` is added for its lock.
        disk: The steps of writing, for tests.
        clock: Epoch seconds.
    """

    refreshes = True

    def __init__(self, path: Path, *, disk: Disk | None = None, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.name = f"{path.name} in the data folder"
        self._spare = Spare(path, disk)
        self._clock = clock
        self._lock = HostLock(path.with_name(path.name + ".lock"))

    def load(self) -> Tokens | None:
        data = read_file(self.path, self.name)
        return None if data is None else Tokens.from_json(parse_object(data, self.name), self.name)

    def save(self, tokens: Tokens) -> None:
        write_spared(self._spare, encode(tokens.to_json()), self.name)
        sweep(self.path, LITTER_AGE, self._clock)

    def reserve(self) -> None:
        make_room(self._spare, self.path, self.name)

    def delete(self) -> None:
        remove_file(self.path, self.name)
        remove_file(self._spare.path, self.name)

    def version(self) -> object:
        return file_version(self.path)

    def lock(self, timeout: float) -> AbstractContextManager[None]:
        return self._lock.held(timeout)


class MemoryTokenStore:
    """A login that lives as long as the process, for hosts without a disk, and for tests."""

    name = "memory"
    refreshes = True

    def __init__(self, tokens: Tokens | None = None) -> None:
        self._tokens = tokens
        self._changes = 0
        self._lock = threading.Lock()

    def load(self) -> Tokens | None:
        return self._tokens

    def save(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._changes += 1

    def reserve(self) -> None:
        pass

    def delete(self) -> None:
        self._tokens = None

    def version(self) -> object:
        return None if self._tokens is None else self._changes

    @contextmanager
    def lock(self, timeout: float) -> Iterator[None]:
        if not self._lock.acquire(timeout=max(timeout, 0)):
            raise LockTimeout("The login is in use. Please try again.")
        try:
            yield
        finally:
            self._lock.release()


def file_version(path: Path) -> object:
    """Tells one content of a file from the next without reading it."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def read_file(path: Path, name: str) -> bytes | None:
    """The content of a file, None where there is none or it is empty.

    Raises:
        StorageFailed: It is there and cannot be read.
    """
    try:
        return read_regular(path).strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_failed("read", name, error) from error


def write_file(path: Path, data: bytes, name: str, disk: Disk) -> None:
    """Writes a file durably, mode 0600.

    Raises:
        StorageFailed: The disk would not.
    """
    try:
        write_durably(path, data, disk)
    except OSError as error:
        raise storage_failed("written", name, error) from error


def write_spared(spare: Spare, data: bytes, name: str) -> None:
    """As ``write_file``, into the room that was kept when there is no other.

    Raises:
        StorageFailed: The disk would not.
    """
    try:
        spare.write(data)
    except OSError as error:
        raise storage_failed("written", name, error) from error


def make_room(spare: Spare, path: Path, name: str) -> None:
    """Keeps room for the next content of a login file.

    Raises:
        StorageFailed: The disk would not.
    """
    try:
        size = path.stat().st_size
        spare.keep(ROOM if size <= ROOM else 2 * size)
    except OSError as error:
        raise storage_failed("given room for the next login", name, error) from error


def remove_file(path: Path, name: str) -> None:
    """Deletes a file; harmless when there is none.

    Raises:
        StorageFailed: The disk would not.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_failed("removed", name, error) from error


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """Parses a file's JSON object.

    Raises:
        BrokenLogin: It is none; the message says where, and never what.
    """
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise BrokenLogin(name, f"it is not valid JSON{where}") from None
    if not isinstance(value, dict):
        raise BrokenLogin(name, "it is not a JSON object")
    return value


def encode(value: dict[str, Any]) -> bytes:
    """The bytes of a login file."""
    return json.dumps(value, indent=2).encode() + b"\n"


def storage_failed(verb: str, name: str, error: OSError) -> StorageFailed:
    """The failure for a disk's refusal, with what to do about it."""
    advice = _ADVICE.get(error.errno or 0, "")
    reason = error.strerror or type(error).__name__
    return StorageFailed(f"{name} could not be {verb}: {reason}. {advice}".strip())
