"""What gunicorn's master does beside its own work."""

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from codexproxy.web.worker import ANNOUNCEMENT


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
