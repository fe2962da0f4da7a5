"""Files that are whole at every moment, also when the process or the host dies."""

import errno
import mmap
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700

# A file mounted by itself into a container cannot be renamed over.
_MOUNTED = frozenset({errno.EBUSY, errno.EXDEV})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Disk:
    """The few steps of a durable write, one method each, so that tests can break any of them."""

    def write(self, descriptor: int, data: bytes) -> None:
        """Writes all of ``data``."""
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def overwrite(self, descriptor: int, data: bytes) -> None:
        """Writes ``data`` over a file of the same length, for which a full disk has room already."""
        try:
            self.write(descriptor, data)
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            # A process that may write no file at all may still change a mapped one.
            with mmap.mmap(descriptor, len(data)) as content:
                content[:] = data
                content.flush()

    def flush(self, descriptor: int) -> None:
        """Waits until the file's content has reached the disk."""
        os.fsync(descriptor)

    def rename(self, source: str, target: Path) -> None:
        """Puts ``source`` in ``target``'s place in one step."""
        os.replace(source, target)

    def flush_folder(self, folder: Path) -> None:
        """Waits until the folder's entries have reached the disk."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # what some network filesystems say to this
                raise
        finally:
            os.close(descriptor)


def make_private_folder(path: Path) -> None:
    """Makes a folder of mode 0700, and every missing one above it; one that is there stays as it is.

    Raises:
        OSError: It cannot be made, or something else has its name.
    """
    try:
        path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    except FileNotFoundError:
        # ``parents=True`` would give those above the mode of the umask.
        make_private_folder(path.parent)
        path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def write_durably(path: Path, data: bytes, disk: Disk | None = None) -> None:
    """Replaces a file's content: readers see the old or the new, never a mixture.

    The file gets mode 0600; its folder is made with 0700 when missing. A
    symbolic link is followed, so that it stays one.

    Raises:
        OSError: The disk is full, read-only, …; the old content is still there.
    """
    disk = disk or Disk()
    target = Path(os.path.realpath(path))
    make_private_folder(target.parent)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    try:
        _fill(descriptor, data, disk.write, disk)
        _put_in_place(temporary, target, data, disk)
    except BaseException:
        _remove(temporary)
        raise
    disk.flush_folder(target.parent)


class Spare:
    """Room on the disk that is kept for the next content of a file, so that a full disk can take it.

    A second file, blank at first, takes the place of the first when it is needed. What it
    replaces becomes the room for the content after that.

    Args:
        target: The file.
        disk: The steps of writing, for tests.
    """

    def __init__(self, target: Path, disk: Disk | None = None) -> None:
        self._target = target
        self._disk = disk or Disk()

    @property
    def path(self) -> Path:
        """The second file."""
        target = Path(os.path.realpath(self._target))
        return target.with_name(f".{target.name}.spare")

    def keep(self, size: int) -> None:
        """Makes sure that a content of so many bytes fits; only asks for the file's size when it does.

        Raises:
            OSError: The disk is full, read-only, ….
        """
        try:
            fits = self.path.stat().st_size >= size
        except FileNotFoundError:
            fits = False
        if not fits:
            write_durably(self.path, b" " * size, self._disk)

    def write(self, data: bytes) -> None:
        """Replaces the file's content as ``write_durably`` does, and uses the room when there is no other.

        Raises:
            OSError: The disk is full, read-only, …; the old content is still there.
        """
        try:
            write_durably(self._target, data, self._disk)
        except OSError as error:
            if error.errno not in _FULL or not self._fits(data):
                raise
            self._use(data)

    def remove(self) -> None:
        """Gives the room back; harmless when there is none."""
        self.path.unlink(missing_ok=True)

    def _fits(self, data: bytes) -> bool:
        try:
            return self.path.stat().st_size >= len(data)
        except OSError:
            return False

    def _use(self, data: bytes) -> None:
        target, spare = Path(os.path.realpath(self._target)), self.path
        replaced = f"{spare}.next"
        descriptor = os.open(spare, os.O_RDWR | os.O_CLOEXEC)
        # Readers of JSON ignore blanks at its end.
        _fill(descriptor, data.ljust(os.fstat(descriptor).st_size), self._disk.overwrite, self._disk)
        _remove(replaced)
        with suppress(OSError):
            os.link(target, replaced)
        _put_in_place(str(spare), target, data, self._disk)
        with suppress(OSError):
            os.rename(replaced, spare)
        self._disk.flush_folder(target.parent)


def _fill(descriptor: int, data: bytes, write: Callable[[int, bytes], None], disk: Disk) -> None:
    try:
        write(descriptor, data)
        disk.flush(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(temporary: str, target: Path, data: bytes, disk: Disk) -> None:
    try:
        disk.rename(temporary, target)
    except OSError as error:
        if error.errno not in _MOUNTED:
            raise
        _overwrite(target, data, disk)
        _remove(temporary)


def _overwrite(target: Path, data: bytes, disk: Disk) -> None:
    # One write call, as long as what it covers, is whole to every later reader
    # even if we die before the file is shortened: JSON ignores trailing blanks.
    descriptor = os.open(target, os.O_WRONLY | os.O_CLOEXEC)
    try:
        disk.write(descriptor, data.ljust(os.fstat(descriptor).st_size))
        os.ftruncate(descriptor, len(data))
        disk.flush(descriptor)
    finally:
        os.close(descriptor)


def _remove(temporary: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(temporary)


# What else may have a file's name; reading a pipe would wait for whoever writes it.
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def read_regular(path: Path) -> bytes:
    """The content of a file; never waits.

    Raises:
        OSError: It cannot be read, or is no regular file.
    """
    kind = stat.S_IFMT(os.stat(path).st_mode)
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(kind, 'something else')}, not a file", str(path))
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read()


def sweep(path: Path, older_than: float, clock: Callable[[], float]) -> None:
    """Removes temporary files that killed writers of ``path`` left behind.

    Args:
        path: The file they were writing.
        older_than: Age in seconds from which a temporary file is litter.
        clock: Epoch seconds.
    """
    target = Path(os.path.realpath(path))
    for litter in target.parent.glob(f".{target.name}.*.tmp"):
        with suppress(FileNotFoundError):
            if clock() - litter.stat().st_mtime > older_than:
                litter.unlink()
