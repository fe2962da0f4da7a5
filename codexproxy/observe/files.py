"""Log files of one day and one level each, safe with several processes."""

import logging
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# Days that files are kept, today included.
KEEP_DAYS = 14

_LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"))
_OURS = re.compile(r"(\d{4}-\d\d-\d\d)-(?:error|warn|info|debug)\.log")


class DailyFiles(logging.Handler):
    """Appends every line to ``{date}-{level}.log``.

    A line is one write to a file opened for appending, so that the lines of
    several processes never mix.

    Args:
        directory: Made when it is missing, readable by its owner only.
        on_error: Told about a line that could not be written.
        keep_days: Days that files are kept, today included; older ones are removed when a new day begins.
    """

    def __init__(
        self, directory: Path, on_error: Callable[[logging.LogRecord], None], keep_days: int = KEEP_DAYS
    ) -> None:
        super().__init__()
        self._keep_days = keep_days
        self._directory = directory
        self._on_error = on_error
        self._open: dict[str, tuple[str, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line."""
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
            os.write(self._descriptor(record), line)
        except Exception:  # whatever fails here, the turn must go on
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Reports the loss without showing the line."""
        self._on_error(record)

    def _descriptor(self, record: logging.LogRecord) -> int:
        level = next((name for least, name in _LEVELS if record.levelno >= least), "debug")
        date = time.strftime("%Y-%m-%d", time.localtime(record.created))
        opened, descriptor = self._open.get(level, ("", -1))
        if opened != date:
            self._forget(level)
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep(record.created)
            path = self._directory / f"{date}-{level}.log"
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._open[level] = (date, descriptor)
        return descriptor

    def _forget(self, level: str) -> None:
        _, descriptor = self._open.pop(level, ("", -1))
        if descriptor >= 0:
            os.close(descriptor)

    def _sweep(self, now: float) -> None:
        # Noon, so that neither a leap second nor the clock's summer time moves the day.
        local = time.localtime(now)
        noon = time.mktime((local.tm_year, local.tm_mon, local.tm_mday - self._keep_days + 1, 12, 0, 0, 0, 0, -1))
        oldest = time.strftime("%Y-%m-%d", time.localtime(noon))
        for name in os.listdir(self._directory):
            ours = _OURS.fullmatch(name)
            if ours and ours[1] < oldest:
                with suppress(FileNotFoundError):  # Another worker has just removed it.
                    (self._directory / name).unlink()

    def close(self) -> None:
        """Closes the files."""
        for level in list(self._open):
            self._forget(level)
        super().close()
