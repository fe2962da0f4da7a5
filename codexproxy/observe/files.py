"""Log files of one day and one level each, safe with several processes."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

_LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"))


class DailyFiles(logging.Handler):
    """Appends every line to ``{date}-{level}.log``.

    A line is one write to a file opened for appending, so that the lines of
    several processes never mix.

    Args:
        directory: Made when it is missing, readable by its owner only.
        on_error: Told about a line that could not be written.
    """

    def __init__(self, directory: Path, on_error: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
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
            path = self._directory / f"{date}-{level}.log"
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._open[level] = (date, descriptor)
        return descriptor

    def _forget(self, level: str) -> None:
        _, descriptor = self._open.pop(level, ("", -1))
        if descriptor >= 0:
            os.close(descriptor)

    def close(self) -> None:
        """Closes the files."""
        for level in list(self._open):
            self._forget(level)
        super().close()
