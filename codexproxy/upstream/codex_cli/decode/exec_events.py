"""The JSON lines of ``codex exec --json`` as events (docs/reference/codex-cli.md#its-json-lines). Pure."""

import time
from collections.abc import Callable
from typing import Any

from codexproxy.errors import ProxyError, UpstreamFailed
from codexproxy.observability.redaction import Redactor
from codexproxy.protocol.events import Batch, decode_object
from codexproxy.upstream.codex_cli.decode.event_builder import Composer
from codexproxy.upstream.codex_cli.decode.progress import Progress, Reporter, object_of, usage_of

# The longest line the CLI may write, in bytes; it holds a whole message or a command's output.
LONGEST = 128 * 1024 * 1024


class Lines:
    """Collects bytes and gives back complete lines. Each byte is looked at once."""

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._pending: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, without their line ends.

        Raises:
            UpstreamFailed: A line has no end.
        """
        head, newline, rest = data.partition(b"\n")
        if not newline:
            return self._keep(data)
        first = b"".join([*self._pending, head])
        *lines, last = rest.split(b"\n")
        self._pending, self._size = [], 0
        self._keep(last)
        return [first, *lines]

    def end(self) -> list[bytes]:
        """What is left at the end of the output: a last line without an end."""
        last = b"".join(self._pending)
        self._pending, self._size = [], 0
        return [last] if last else []

    def _keep(self, data: bytes) -> list[bytes]:
        self._size += len(data)
        if self._size > self._longest:
            raise UpstreamFailed("The Codex CLI wrote a line that does not end.", code="codex_cli_failed")
        if data:
            self._pending.append(data)
        return []


Json = dict[str, Any]


class ExecDecoder:
    """Decodes the output of one run.

    Lines that are no JSON object, and events it does not know, are passed over:
    the CLI, and what it loads, may write other things to its output.

    Args:
        composer: Makes the events.
        reporter: Tells it what happened.
        redact: Takes secrets out of error messages.
        now: Epoch seconds.

    Attributes:
        progress: How the turn goes.
        skipped: How many lines were no JSON object.
    """

    def __init__(
        self, composer: Composer, reporter: Reporter, redact: Redactor, now: Callable[[], float] = time.time
    ) -> None:
        self._composer = composer
        self._reporter = reporter
        self.progress = Progress(composer, redact, now)
        self.skipped = 0

    def feed(self, lines: list[bytes]) -> Batch:
        """The events of these lines."""
        events: Batch = []
        for line in lines:
            event = self._parsed(line)
            read = _EVENTS.get(str(event.get("type"))) if event and not self.progress.is_over else None
            if read is not None:
                events += self.progress.begin() + read(self, event)
        return events

    def _parsed(self, line: bytes) -> Json:
        try:
            return decode_object(line)
        except UpstreamFailed:
            self.skipped += 1
            return {}

    def _nothing(self, event: Json) -> Batch:
        return []

    def _item_moved(self, event: Json) -> Batch:
        return self._reporter.activity(object_of(event.get("item")), finished=False)

    def _item_completed(self, event: Json) -> Batch:
        item = object_of(event.get("item"))
        key, text = str(item.get("id")), item.get("text")
        if item.get("type") == "agent_message" and isinstance(text, str):
            return self._reporter.hold(key, text)
        if item.get("type") == "reasoning" and isinstance(text, str):
            return self._composer.reasoning_done(key, [text])
        return self._reporter.activity(item, finished=True)

    def _passing(self, event: Json) -> Batch:
        # Only turn.failed ends a turn.
        self.progress.mention(str(event.get("message") or ""))
        return []

    def _completed(self, event: Json) -> Batch:
        self.progress.finished = True
        return self._reporter.complete(usage_of(object_of(event.get("usage")), _COUNTS))

    def _failed(self, event: Json) -> Batch:
        self.progress.fail(str(object_of(event.get("error")).get("message") or ""))
        return []

    def ended(self, status: int | None, stderr: str) -> ProxyError | None:
        """What it means that the output has ended now; None when all is well."""
        return self.progress.ended(status, stderr)


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


_COUNTS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
)
