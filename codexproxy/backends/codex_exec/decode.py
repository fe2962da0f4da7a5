"""The JSON lines of ``codex exec --json`` as events (UPSTREAM.md §9). Pure."""

from collections.abc import Callable
from typing import Any

from codexproxy.backends.codex_exec.composer import Composer, usage_object
from codexproxy.backends.codex_exec.failures import OFFLINE_REPORTS, failure_of_exit, failure_of_text, is_offline
from codexproxy.backends.codex_exec.reporter import Reporter
from codexproxy.errors import ProxyError, UpstreamFailed
from codexproxy.observe.redaction import Redactor
from codexproxy.turns.events import Batch, decode_object

Json = dict[str, Any]


class ExecDecoder:
    """Decodes the output of one run.

    Lines that are no JSON object, and events it does not know, are passed over:
    the CLI, and what it loads, may write other things to its output.

    Args:
        composer: Makes the events.
        reporter: Tells it what happened.
        redact: Takes secrets out of error messages.

    Attributes:
        finished: Whether the turn has completed.
        failure: Why the turn failed; whoever feeds the decoder raises it once the events before it are delivered.
        skipped: How many lines were no JSON object.
        last_error: Message of the last ``error`` event; it may have been a passing one.
    """

    def __init__(self, composer: Composer, reporter: Reporter, redact: Redactor) -> None:
        self._composer = composer
        self._reporter = reporter
        self._redact = redact
        self._begun = False
        self._offline = 0
        self.finished = False
        self.failure: ProxyError | None = None
        self.skipped = 0
        self.last_error = ""

    def feed(self, lines: list[bytes]) -> Batch:
        """The events of these lines."""
        events: Batch = []
        for line in lines:
            event = self._parsed(line)
            read = _EVENTS.get(str(event.get("type"))) if event and not self._is_over() else None
            if read is not None:
                events += self._begin() + read(self, event)
        return events

    def _parsed(self, line: bytes) -> Json:
        try:
            return decode_object(line)
        except UpstreamFailed:
            self.skipped += 1
            return {}

    def _is_over(self) -> bool:
        return self.finished or self.failure is not None

    def _begin(self) -> Batch:
        if self._begun:
            return []
        self._begun = True
        return self._composer.begin()

    def _nothing(self, event: Json) -> Batch:
        return []

    def _item_moved(self, event: Json) -> Batch:
        return self._reporter.activity(_object(event.get("item")), finished=False)

    def _item_completed(self, event: Json) -> Batch:
        item = _object(event.get("item"))
        key, text = str(item.get("id")), item.get("text")
        if item.get("type") == "agent_message" and isinstance(text, str):
            return self._reporter.hold(key, text)
        if item.get("type") == "reasoning" and isinstance(text, str):
            return self._composer.reasoning_done(key, [text])
        return self._reporter.activity(item, finished=True)

    def _passing(self, event: Json) -> Batch:
        # "Reconnecting… 2/5": only turn.failed ends a turn.
        self.last_error = str(event.get("message") or "")
        self._offline += is_offline(self.last_error)
        if self._offline >= OFFLINE_REPORTS:
            self.failure = failure_of_text(self.last_error, self._redact)
        return []

    def _completed(self, event: Json) -> Batch:
        self.finished = True
        return self._reporter.complete(usage_of(_object(event.get("usage"))))

    def _failed(self, event: Json) -> Batch:
        message = _object(event.get("error")).get("message") or self.last_error
        self.failure = failure_of_text(str(message), self._redact)
        return []

    def ended(self, status: int | None, stderr: str) -> ProxyError | None:
        """What it means that the output has ended now; None when all is well."""
        if self._is_over():
            return self.failure
        if self.last_error:
            return failure_of_text(self.last_error, self._redact)
        return failure_of_exit(status, stderr, self._redact)


_EVENTS: dict[str, Callable[[ExecDecoder, Json], Batch]] = {
    "thread.started": ExecDecoder._nothing,
    "turn.started": ExecDecoder._nothing,
    "item.started": ExecDecoder._item_moved,
    "item.updated": ExecDecoder._item_moved,
    "item.completed": ExecDecoder._item_completed,
    "error": ExecDecoder._passing,
    "turn.completed": ExecDecoder._completed,
    "turn.failed": ExecDecoder._failed,
}


def usage_of(usage: Json) -> Json:
    """The CLI's token counts in the form of the terminal event."""
    return usage_object(*(_count(usage.get(name)) for name in _COUNTS))


_COUNTS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
