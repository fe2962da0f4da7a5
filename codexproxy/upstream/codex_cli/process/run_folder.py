"""The folder of one run, and the processes that outlive a run.

A lock on the folder says that its run is alive, so that what a killed worker left
behind can be told from what is in use. Processes of a run are found by the mark in
their environment: a command may leave its process group and its parents behind, its
environment it keeps. Where there is no /proc, the process group is all we have.
"""

import os
import secrets
import shutil
import signal
import stat
from pathlib import Path

from codexproxy.protocol.events import encode_json
from codexproxy.storage.atomic_file import make_private_folder
from codexproxy.storage.files.locks import try_lock
from codexproxy.upstream.codex_cli.prompt import Prompt

# Marks every process of a run, so that none is left behind.
RUN = "CODEXPROXY_RUN"


_PROC = Path("/proc")

# A process that forks as fast as it is found is stopped after a few rounds.
_ROUNDS = 20


def kill_leftovers(run: str) -> None:
    """Ends every process that carries this run's mark."""
    for _ in range(_ROUNDS):
        found = processes_of(run)
        for pid in found:
            _kill(pid)
        if not found:
            return


def processes_of(run: str, proc: Path = _PROC) -> list[int]:
    """Ids of the live processes of a run."""
    mark = f"{RUN}={run}".encode()
    return [int(entry.name) for entry in _entries(proc) if mark in _environment(entry)]


def _entries(proc: Path) -> list[Path]:
    try:
        return [entry for entry in proc.iterdir() if entry.name.isdigit()]
    except OSError:
        return []


def _environment(entry: Path) -> list[bytes]:
    try:
        return (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        # It has just ended, or belongs to somebody else.
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


PREFIX = "codexproxy-run-"
_LOCK = "lock"
_CLAIM = "claim"


class RunFolder:
    """A fresh folder that only we may enter; whoever made it must ``remove`` it.

    Args:
        scratch: Where to make it.
    """

    def __init__(self, scratch: Path) -> None:
        self.run = secrets.token_hex(12)
        self.path = Path(os.path.realpath(scratch)) / f"{PREFIX}{self.run}"
        make_private_folder(self.path.parent)
        self.path.mkdir(mode=0o700)
        self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try_lock(self._lock)
        self.temporary = self._made("tmp")
        # Below what may be written, since a hidden folder shows nothing else (``confinement``).
        self.work = self._made("tmp/work")
        self._files = self._made("in")

    def _made(self, name: str) -> Path:
        folder = self.path / name
        folder.mkdir(mode=0o700)
        return folder

    def write_images(self, prompt: Prompt) -> list[Path]:
        """Writes a prompt's images to files, in order."""
        return [self.write(f"image-{secrets.token_hex(6)}.{image.ending}", image.data) for image in prompt.images]

    def write_schema(self, schema: dict[str, object]) -> Path:
        """Writes a JSON Schema to a file."""
        return self.write(f"schema-{secrets.token_hex(6)}.json", encode_json(schema))

    def write(self, name: str, data: bytes) -> Path:
        """Writes a file that only we may read."""
        path = self._files / name
        path.write_bytes(data)
        return path

    def claim(self, workdir: Path) -> bool:
        """Says that this run writes below ``workdir``, unless another one writes above or below it.

        Who may write above a folder can put a link in its place, under the feet of those who work there.

        Returns:
            Whether the folder is ours for this run.
        """
        (self.path / _CLAIM).write_bytes(os.fsencode(workdir))
        # Ours stands before we look, so that of two at once at least one sees the other.
        others = [_claim_of(path) for path in self.path.parent.glob(PREFIX + "*") if path != self.path]
        return not any(other in workdir.parents or workdir in other.parents for other in others if other)

    def remove(self) -> None:
        """Removes it with all that is in it; harmless when called twice."""
        remove_tree(self.path)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def remove_tree(path: Path) -> None:
    """Removes a folder, also one whose owner took the right to do so away. Links are not followed."""
    shutil.rmtree(path, ignore_errors=True)
    if not os.path.lexists(path):
        return
    os.chmod(path, stat.S_IRWXU)
    for folder, children, _ in os.walk(path):
        for child in (os.path.join(folder, name) for name in children):
            if not os.path.islink(child):
                os.chmod(child, stat.S_IRWXU)
    shutil.rmtree(path, ignore_errors=True)


def sweep(scratch: Path) -> None:
    """Removes what killed workers left behind: their runs' processes and folders."""
    for path in scratch.glob(PREFIX + "*"):
        if path.is_dir() and not path.is_symlink() and _is_abandoned(path):
            kill_leftovers(path.name.removeprefix(PREFIX))
            remove_tree(path)


def _claim_of(path: Path) -> Path | None:
    try:
        claimed = os.fsdecode((path / _CLAIM).read_bytes())
    except OSError:
        return None
    return Path(claimed) if claimed and not _is_abandoned(path) else None


def _is_abandoned(path: Path) -> bool:
    try:
        if path.lstat().st_uid != os.getuid():
            return False
        descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        # It is being made or removed right now.
        return False
    try:
        return try_lock(descriptor)
    finally:
        os.close(descriptor)
