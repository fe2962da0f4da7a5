"""What was learned of upstream's refusals, for all processes of the host, for a day."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from codexproxy.errors import ProxyError
from codexproxy.state.database import BRIEFLY, Database
from codexproxy.turns.remedies import Remedy

# Upstream changes its mind: what it refuses today is tried again tomorrow.
LASTS = 24 * 3600.0
# Seconds for which one process trusts what it last read.
LOOK_EVERY = 5.0

_SCHEMA = (
    "CREATE TABLE remedies (model TEXT, kind TEXT, detail TEXT, learned REAL, PRIMARY KEY (model, kind, detail))",
)
_KEEP = "INSERT OR REPLACE INTO remedies VALUES (?, ?, ?, ?)"

log = logging.getLogger(__name__)


class RemedyBook:
    """Remedies by model.

    A turn never fails because the book cannot be read or written.

    Args:
        path: The database file.
        clock: Epoch seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._database = Database(path, _SCHEMA, timeout=BRIEFLY)
        self._path = path
        self._clock = clock
        self._known: dict[str, dict[Remedy, float]] = {}
        self._looked = float("-inf")

    def known(self, model: str) -> tuple[Remedy, ...]:
        """What every turn of this model needs now."""
        self._look()
        now = self._clock()
        return tuple(remedy for remedy, learned in self._known.get(model, {}).items() if now - learned < LASTS)

    def learn(self, model: str, remedy: Remedy) -> None:
        """Remembers a remedy that is needed by every turn of a model."""
        now = self._clock()
        self._known.setdefault(model, {})[remedy] = now
        log.warning("upstream refused a turn of %s; from now on: %s", model, remedy)
        try:
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM remedies WHERE learned <= ?", (now - LASTS,))
                connection.execute(_KEEP, (model, remedy.kind, remedy.detail, now))
        except ProxyError as error:
            log.warning("this process alone knows of it: %s", error.message)

    def all(self) -> list[tuple[str, Remedy, float]]:
        """Model, remedy and epoch seconds of all that is known, newest first; for status."""
        self._looked = float("-inf")
        self._look()
        rows = [(model, remedy, at) for model, known in self._known.items() for remedy, at in known.items()]
        return sorted(rows, key=lambda row: -row[2])

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        if not self._path.exists():
            return
        try:
            rows = self._database.rows("SELECT model, kind, detail, learned FROM remedies")
        except ProxyError as error:
            log.warning("what other processes learned is not known: %s", error.message)
            return
        known: dict[str, dict[Remedy, float]] = {}
        for model, kind, detail, learned in rows:
            known.setdefault(model, {})[Remedy(kind, detail)] = learned
        self._known = known
