"""Log files of one day and one level each, safe with several processes, and bounded by days and by bytes."""

import fcntl
import logging
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from codexproxy.storage.atomic_file import make_private_folder

# Days that files are kept, today included.
KEEP_DAYS = 14
# Bytes of all files together.
MAX_BYTES = 2**30

_LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"))
_OURS = re.compile(r"(\d{4}-\d\d-\d\d)-(error|warn|info|debug)(?:\.(\d+))?\.log")
# The four files that grow may take a quarter of the whole; what is closed has the rest.
_SHARE = 16
_CLOSED = 12


class DailyFiles(logging.Handler):
    """Appends every line to ``{date}-{level}.log``.

    A line is one write to a file opened for appending, so that the lines of
    several processes never mix. A file that has its share is renamed to
    ``{date}-{level}.{n}.log`` by whoever notices first; the others follow
    when they find theirs too long as well.

    Args:
        directory: Made when it is missing, readable by its owner only.
        on_error: Told about the first line that could not be written; about further ones only after
            one that could.
        keep_days: Days that files are kept, today included; older ones are removed when a new day begins.
        max_bytes: Bytes of all files together; the oldest are removed when a file begins.
    """

    def __init__(
        self,
        directory: Path,
        on_error: Callable[[logging.LogRecord], None],
        keep_days: int = KEEP_DAYS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        super().__init__()
        self._keep_days = keep_days
        self._share = max_bytes // _SHARE
        self._closed = self._share * _CLOSED
        self._directory = directory
        self._on_error = on_error
        self._fails = False
        self._open: dict[str, tuple[str, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line."""
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
            os.write(self._descriptor(record), line)
            self._fails = False
        except Exception:  # whatever fails here, the turn must go on
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Reports the loss without showing the line, once as long as it lasts."""
        if not self._fails:
            self._fails = True
            self._on_error(record)

    def _descriptor(self, record: logging.LogRecord) -> int:
        level = next((name for least, name in _LEVELS if record.levelno >= least), "debug")
        date = time.strftime("%Y-%m-%d", time.localtime(record.created))
        opened, descriptor = self._open.get(level, ("", -1))
        path = self._directory / f"{date}-{level}.log"
        if opened == date and os.fstat(descriptor).st_size < self._share:
            return descriptor
        if opened == date:
            _set_aside(path, descriptor)
        self._forget(level)
        make_private_folder(self._directory)
        self._sweep(record.created)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._open[level] = (date, descriptor)
        return descriptor

    def _forget(self, level: str) -> None:
        _, descriptor = self._open.pop(level, ("", -1))
        if descriptor >= 0:
            os.close(descriptor)

    def _sweep(self, now: float) -> None:
        ours = [found for name in os.listdir(self._directory) if (found := _OURS.fullmatch(name))]
        oldest, today = self._oldest(now), time.strftime("%Y-%m-%d", time.localtime(now))
        left = self._closed
        # The newest first; of one day and level, the highest number is the newest but for the one without.
        for found in sorted(ours, key=_age, reverse=True):
            with suppress(FileNotFoundError):  # Another worker has just removed it.
                path = self._directory / found[0]
                growing = found[1] >= today and found[3] is None
                left -= 0 if growing else path.stat().st_size
                if found[1] < oldest or left < 0:
                    path.unlink()

    def _oldest(self, now: float) -> str:
        # Noon, so that neither a leap second nor the clock's summer time moves the day.
        local = time.localtime(now)
        noon = time.mktime((local.tm_year, local.tm_mon, local.tm_mday - self._keep_days + 1, 12, 0, 0, 0, 0, -1))
        return time.strftime("%Y-%m-%d", time.localtime(noon))

    def close(self) -> None:
        """Closes the files."""
        for level in list(self._open):
            self._forget(level)
        super().close()


def _age(found: re.Match[str]) -> tuple[str, float]:
    return found[1], float(found[3] or "inf")


def _set_aside(path: Path, descriptor: int) -> None:
    """Gives a file that has its share another name, unless another process did so already."""
    # Whoever renames holds a lock on the very file that has the name, so nobody renames its successor.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    try:
        if os.path.samestat(path.stat(), os.fstat(descriptor)):
            path.rename(path.with_name(f"{path.stem}.{_next_number(path)}.log"))
    except FileNotFoundError:
        pass  # Somebody removed it; the next line begins another.
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _next_number(path: Path) -> int:
    numbers = [found[3] for name in os.listdir(path.parent) if (found := _OURS.fullmatch(name)) and found[3]]
    return 1 + max(map(int, numbers), default=0)
