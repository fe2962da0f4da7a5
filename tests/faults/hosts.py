"""Hosts on which something is wrong: a full disk, a folder that cannot be written, a database somebody holds."""

import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from tests.faults import powerless
from tests.service import ROOT, Service


class FullDiskService(Service):
    """A service whose processes can be forbidden to make any file longer.

    Its log goes through a pipe, which is no file.
    """

    def __init__(self, *arguments: Any, **environ: str) -> None:
        super().__init__(*arguments, **environ)
        self._writer: subprocess.Popen[bytes] | None = None

    def open_log(self) -> IO[bytes]:
        """The pipe."""
        with super().open_log() as log:
            self._writer = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log)
        assert self._writer.stdin is not None
        return self._writer.stdin

    @contextmanager
    def disk_full(self) -> Iterator[None]:
        """Nothing can be written."""
        # Lowering the soft limit only, so that anybody may raise it again.
        for pid in self._pids():
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
        yield
        for pid in self._pids():
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))

    def _pids(self) -> Iterator[int]:
        # The workers are listed when the master has the new limit, which those it starts from now on inherit.
        assert self.process is not None
        yield self.process.pid
        yield from workers_of(self)

    def stop(self) -> None:
        """Ends it and its pipe."""
        super().stop()
        if self._writer is not None:
            self._writer.wait()


class MovableClock:
    """The wall clock of a service's processes, which can be moved while they run.

    Args:
        folder: Where it is kept how wrong the clock is.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "moved"
        fake = ROOT / "tests" / "fakes" / "movable_clock"
        self.environ = {"PYTHONPATH": str(fake), "MOVED_CLOCK": str(self._path)}

    def move(self, seconds: float) -> None:
        """From now on the clock is wrong by so much."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.rename(self._path)


def workers_of(service: Service) -> list[int]:
    """Process ids of the workers."""
    assert service.process is not None
    pid = service.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def without_privileges(service: Service) -> Service:
    """The service, to whom the modes of files mean something even when root runs the tests."""
    service.launcher = (sys.executable, powerless.__file__)
    return service


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """Nobody may write into the folder or to its files."""
    paths = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(modes[path] & ~0o222)
    yield
    for path in paths:
        path.chmod(modes[path])


@contextmanager
def locked(folder: Path) -> Iterator[list[str]]:
    """Somebody else is in the middle of writing to every database of a folder; their names."""
    with ExitStack() as stack:
        paths = sorted(folder.glob("*.sqlite3"))
        for path in paths:
            connection = sqlite3.connect(path, isolation_level=None)
            stack.callback(connection.close)
            connection.execute("BEGIN EXCLUSIVE")
        yield [path.name for path in paths]
