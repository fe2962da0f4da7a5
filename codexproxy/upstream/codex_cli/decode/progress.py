"""How one turn of the CLI goes, whichever protocol tells of it. Pure."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from codexproxy.errors import ProxyError
from codexproxy.observability.redaction import Redactor
from codexproxy.protocol.events import Batch
from codexproxy.protocol.numbers import moment, whole
from codexproxy.upstream.codex_cli.decode.error_mapping import (
    OFFLINE_REPORTS,
    failure_of_exit,
    failure_of_text,
    is_offline,
)
from codexproxy.upstream.codex_cli.decode.event_builder import Composer, usage_object

Json = dict[str, Any]


class Progress:
    """Whether a turn has begun, completed or failed.

    Args:
        composer: Makes the events.
        redact: Takes secrets out of error messages.
        now: Epoch seconds.

    Attributes:
        finished: Whether the turn has completed.
        failure: Why the turn failed; whoever feeds the decoder raises it once the events before it are delivered.
    """

    def __init__(self, composer: Composer, redact: Redactor, now: Callable[[], float] = time.time) -> None:
        self._composer = composer
        self._now = now
        self._resets: tuple[float, ...] = ()
        self._redact = redact
        self._begun = False
        self._offline = 0
        self._last_error = ""
        self.finished = False
        self.failure: ProxyError | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing that is said now counts any more."""
        return self.finished or self.failure is not None

    def begin(self) -> Batch:
        """The events that open an answer, once."""
        if self._begun:
            return []
        self._begun = True
        return self._composer.begin()

    def windows(self, limits: Json) -> None:
        """Takes what the app-server says of the account's windows."""
        rows = [object_of(limits.get(name)).get("resetsAt") for name in ("primary", "secondary")]
        self._resets = tuple(told for told in map(moment, rows) if told is not None)

    def mention(self, message: str) -> None:
        """Takes an error that need not be the last word ("Reconnecting… 2/5"); too many such are one."""
        self._last_error = message
        self._offline += is_offline(message)
        if self._offline >= OFFLINE_REPORTS:
            self.fail(message)

    def fail(self, message: str, kind: Any = None) -> None:
        """Takes the word that the turn failed; the last error mentioned stands in for a message that is missing.

        Args:
            message: What the CLI said.
            kind: Its ``codexErrorInfo``, where it gave one.
        """
        text = message or self._last_error
        self.failure = failure_of_text(text, self._redact, kind, now=self._now(), resets=self._resets)

    def ended(self, status: int | None, stderr: str) -> ProxyError | None:
        """What it means that the CLI says nothing more; None when all is well.

        Args:
            status: Its exit status; None while it still runs.
            stderr: The end of what it complained about.
        """
        if not self.is_over and self._last_error:
            self.fail(self._last_error)
        return self.failure if self.is_over else failure_of_exit(status, stderr, self._redact)


def usage_of(counts: Json, names: Sequence[str]) -> Json:
    """The CLI's token counts in the form of the terminal event.

    Args:
        counts: What it counted.
        names: Its names for input, cached input, cache writes, output and reasoning.
    """
    return usage_object(*(whole(counts.get(name)) for name in names))


def object_of(value: Any) -> Json:
    """An object of a message; empty where the CLI wrote something else."""
    return value if isinstance(value, dict) else {}
