"""What gunicorn's master does beside its own work."""

import os
import resource
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from codexproxy.gunicorn.worker import ANNOUNCEMENT
from codexproxy.observability.processes import lives


class Replacements:
    """Tells workers whether they are being replaced or the service stops (see ``stopping``)."""

    def __init__(self) -> None:
        self._replaced: set[int] = set()

    def on_reload(self, server: Any) -> None:
        """Announces to all workers of before that others take over."""
        self._announce(pid for pid in server.WORKERS if pid not in self._replaced)
        self._replaced.update(server.WORKERS)

    def child_exit(self, server: Any, worker: Any) -> None:
        """Announces to replaced workers, once the first of the others has gone, that the service stops after all."""
        self._replaced.discard(worker.pid)
        if server.LISTENERS:
            return
        self._announce(self._replaced)
        self._replaced.clear()

    @staticmethod
    def _announce(pids: Iterable[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, ANNOUNCEMENT)


class MetricsFolder:
    """The folder in which all workers count, one per start of the service.

    prometheus-client reads the variable when it is imported, so it has to be
    set before the first worker is forked.
    """

    VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
    NAME = "codexproxy-metrics-"

    def __init__(self) -> None:
        self._folder: Path | None = None

    def on_starting(self, server: Any) -> None:
        """Makes the folder; a host without one to write in gets each worker's own numbers."""
        with suppress(OSError):
            self._sweep(Path(tempfile.gettempdir()))
            self._folder = Path(tempfile.mkdtemp(prefix=f"{self.NAME}{os.getpid()}-"))
        if self._folder is None:
            server.log.warning("The folder for metrics cannot be created: /metrics shows one worker at a time.")
            os.environ.pop(self.VARIABLE, None)
            return
        os.environ[self.VARIABLE] = str(self._folder)

    def _sweep(self, parent: Path) -> None:
        """Removes what services left that were killed."""
        for folder in parent.glob(f"{self.NAME}*"):
            owner = folder.name.removeprefix(self.NAME).partition("-")[0]
            if owner.isdigit() and not lives(int(owner)):
                shutil.rmtree(folder, ignore_errors=True)

    def child_exit(self, server: Any, worker: Any) -> None:
        """Forgets the gauges of a worker that ended; what it counted stays."""
        if self._folder is None:
            return
        for path in self._folder.glob(f"gauge_live*_{worker.pid}.db"):
            path.unlink(missing_ok=True)

    def on_exit(self, server: Any) -> None:
        """Removes the folder."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def allow_open_files() -> None:
    """Lets this process and its workers open as many files as the system permits at all.

    A stream takes two, and the usual limit that a shell or a service manager begins with is 1,024.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # Some systems name a limit that they do not grant.
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
