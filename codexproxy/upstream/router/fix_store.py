"""What was learned of upstream's refusals, for all processes of the host, for a day."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from codexproxy.errors import ProxyError
from codexproxy.storage.database import BRIEFLY, Database
from codexproxy.upstream.router.request_fixes import Remedy

# Upstream changes its mind: what it refuses today is tried again tomorrow.
LASTS = 24 * 3600.0
# Seconds for which one process trusts what it last read.
LOOK_EVERY = 5.0
# Lessons that are kept, the newest ones; callers of many kinds must not make the book grow for ever.
MOST = 500

_SCHEMA = (
    "CREATE TABLE remedies (model TEXT, kind TEXT, detail TEXT, learned REAL, PRIMARY KEY (model, kind, detail))",
    # What was learned of one caller's turn was applied to all turns of its model. The table stays for version 0.1.
    "DELETE FROM remedies",
    "CREATE TABLE lessons (provider TEXT, model TEXT, turns TEXT, remedy TEXT, detail TEXT, learned REAL,"
    " PRIMARY KEY (provider, model, turns, remedy, detail))",
)
_KEEP = "INSERT OR REPLACE INTO lessons VALUES (?, ?, ?, ?, ?, ?)"
_FORGET = (
    "DELETE FROM lessons WHERE learned <= max(?, coalesce("
    "(SELECT learned FROM lessons ORDER BY learned DESC LIMIT 1 OFFSET ?), 0))"
)
_ALL = "SELECT provider, model, turns, remedy, detail, learned FROM lessons ORDER BY learned"

log = logging.getLogger(__name__)


class Lesson(NamedTuple):
    """Something that one provider wants of some turns.

    Attributes:
        provider: Who refused such a turn.
        model: Its model.
        kind: Which turns of that model, see ``turns.lessons.kind_of``.
        remedy: What made the provider take it.
    """

    provider: str
    model: str
    kind: str
    remedy: Remedy


class RemedyBook:
    """Lessons by provider and model.

    A turn never fails because the book cannot be read or written.

    Args:
        path: The database file.
        clock: Epoch seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._database = Database(path, _SCHEMA, timeout=BRIEFLY)
        self._path = path
        self._clock = clock
        self._known: dict[tuple[str, str], dict[Lesson, float]] = {}
        self._looked = float("-inf")

    def known(self, provider: str, model: str) -> tuple[tuple[Remedy, str], ...]:
        """Remedies, and the kind of turns that each is for, oldest first."""
        self._look()
        now = self._clock()
        lessons = self._known.get((provider, model), {})
        return tuple((lesson.remedy, lesson.kind) for lesson, learned in lessons.items() if now - learned < LASTS)

    def learn(self, lesson: Lesson) -> None:
        """Remembers what a provider wants of such turns."""
        now = self._clock()
        self._note(lesson, now)
        log.warning("%s refused a turn of %s; from now on: %s", lesson.provider, lesson.model, lesson.remedy)
        row = (*lesson[:3], lesson.remedy.kind, lesson.remedy.detail, now)
        try:
            with self._database.transaction() as connection:
                connection.execute(_KEEP, row)
                connection.execute(_FORGET, (now - LASTS, MOST))
        except ProxyError as error:
            log.warning("the fix could not be saved for other processes: %s", error.message)

    def all(self) -> list[tuple[str, Remedy, float]]:
        """Model, remedy and epoch seconds of all that is known, newest first; for status."""
        self._looked = float("-inf")
        self._look()
        newest: dict[tuple[str, Remedy], float] = {}
        for lessons in self._known.values():
            for lesson, at in lessons.items():
                told = lesson.model, lesson.remedy
                newest[told] = max(at, newest.get(told, at))
        return sorted(((model, remedy, at) for (model, remedy), at in newest.items()), key=lambda row: -row[2])

    def _note(self, lesson: Lesson, at: float) -> None:
        lessons = self._known.setdefault((lesson.provider, lesson.model), {})
        lessons[lesson] = at
        while len(lessons) > MOST:
            lessons.pop(next(iter(lessons)))

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        if not self._path.exists():
            return
        try:
            rows = self._database.rows(_ALL)
        except ProxyError as error:
            log.warning("fixes found by other processes cannot be read: %s", error.message)
            return
        self._known = {}
        for provider, model, kind, remedy, detail, learned in rows:
            self._note(Lesson(provider, model, kind, Remedy(remedy, detail)), learned)
