"""The notifications of an app-server as events. Pure.

They name what ``codex exec`` names, in camel case, and add deltas of texts.
"""

import time
from collections.abc import Callable
from typing import Any

from codexproxy.errors import ProxyError, UpstreamFailed
from codexproxy.observability.redaction import Redactor
from codexproxy.protocol.events import Batch
from codexproxy.upstream.codex_cli.decode.event_builder import Composer
from codexproxy.upstream.codex_cli.decode.progress import Progress, Reporter, object_of, usage_of

Json = dict[str, Any]


class AppDecoder:
    """Decodes the messages about one turn.

    Args:
        thread: The turn's thread; messages about other threads are passed over.
        request: Id of the ``turn/start`` request, whose refusal comes as an answer.
        composer: Makes the events.
        reporter: Tells it what happened.
        redact: Takes secrets out of error messages.
        now: Epoch seconds.

    Attributes:
        progress: How the turn goes.
    """

    def __init__(
        self,
        thread: str,
        request: int,
        composer: Composer,
        reporter: Reporter,
        redact: Redactor,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._thread = thread
        self._request = request
        self._composer = composer
        self._reporter = reporter
        self._phases: dict[str, str | None] = {}
        self._usage: Json | None = None
        self.progress = Progress(composer, redact, now)

    def feed(self, messages: list[Json]) -> Batch:
        """The events of these messages."""
        events: Batch = []
        for message in messages:
            if self.progress.is_over:
                break
            events += self._take(message)
        return events

    def _take(self, message: Json) -> Batch:
        if message.get("id") == self._request:
            return self._answered(message)
        params = object_of(message.get("params"))
        if message.get("method") == "account/rateLimits/updated":
            self.progress.windows(object_of(params.get("rateLimits")))
            return []
        read = _NOTIFICATIONS.get(str(message.get("method")))
        if read is None or params.get("threadId") != self._thread:
            return []
        return self.progress.begin() + read(self, params)

    def _answered(self, message: Json) -> Batch:
        error = message.get("error")
        if isinstance(error, dict):
            self.progress.fail(str(error.get("message") or ""))
        return []

    def _nothing(self, params: Json) -> Batch:
        return []

    def _item_started(self, params: Json) -> Batch:
        item = object_of(params.get("item"))
        if item.get("type") == "agentMessage":
            self._phases[str(item.get("id"))] = _phase(item)
            return []
        return self._reporter.activity(item, finished=False)

    def _message_delta(self, params: Json) -> Batch:
        key = str(params.get("itemId"))
        return self._reporter.delta(key, str(params.get("delta") or ""), self._phases.get(key))

    def _reasoning_delta(self, params: Json) -> Batch:
        index = params.get("summaryIndex")
        place = index if isinstance(index, int) and 0 <= index < _MOST_PARTS else 0
        return self._composer.reasoning_delta(str(params.get("itemId")), place, str(params.get("delta") or ""))

    def _item_completed(self, params: Json) -> Batch:
        item = object_of(params.get("item"))
        read = _ITEMS.get(str(item.get("type")))
        return read(self, item) if read else self._reporter.activity(item, finished=True)

    def _message_done(self, item: Json) -> Batch:
        key, text, phase = str(item.get("id")), str(item.get("text") or ""), _phase(item)
        if self._reporter.knows_better(phase):
            return self._reporter.hold(key, text)
        return self._reporter.message(key, text, phase)

    def _reasoning_done(self, item: Json) -> Batch:
        summary = item.get("summary")
        texts = [text for text in summary if isinstance(text, str)] if isinstance(summary, list) else []
        return self._composer.reasoning_done(str(item.get("id")), texts)

    def _passing(self, params: Json) -> Batch:
        # Only turn/completed ends a turn.
        self.progress.mention(str(object_of(params.get("error")).get("message") or ""))
        return []

    def _used(self, params: Json) -> Batch:
        # A fresh thread has one turn, so the thread's total is the turn's.
        total = object_of(object_of(params.get("tokenUsage")).get("total"))
        self._usage = usage_of(total, _COUNTS)
        return []

    def _completed(self, params: Json) -> Batch:
        turn = object_of(params.get("turn"))
        status, error = turn.get("status"), object_of(turn.get("error"))
        if status == "completed":
            self.progress.finished = True
            return self._reporter.complete(self._usage)
        message = str(error.get("message") or f"The Codex CLI ended the turn as {status}.")
        self.progress.fail(message, error.get("codexErrorInfo"))
        return []

    def ended(self, status: int | None, stderr: str) -> ProxyError | None:
        """What it means that the server says nothing more; None when all is well."""
        return self.progress.ended(status, stderr)


_COUNTS = ("inputTokens", "cachedInputTokens", "cacheWriteInputTokens", "outputTokens", "reasoningOutputTokens")

# A summary with more parts than this is garbage, and would cost memory.
_MOST_PARTS = 1000

_NOTIFICATIONS: dict[str, Callable[[AppDecoder, Json], Batch]] = {
    "turn/started": AppDecoder._nothing,
    "item/started": AppDecoder._item_started,
    "item/completed": AppDecoder._item_completed,
    "item/agentMessage/delta": AppDecoder._message_delta,
    "item/reasoning/summaryTextDelta": AppDecoder._reasoning_delta,
    "thread/tokenUsage/updated": AppDecoder._used,
    "error": AppDecoder._passing,
    "turn/completed": AppDecoder._completed,
}

_ITEMS: dict[str, Callable[[AppDecoder, Json], Batch]] = {
    "agentMessage": AppDecoder._message_done,
    "reasoning": AppDecoder._reasoning_done,
}


def thread_of(result: Json) -> str:
    """The id of the thread that ``thread/start`` answered with.

    Raises:
        UpstreamFailed: There is none.
    """
    thread = object_of(result.get("thread")).get("id")
    if not isinstance(thread, str):
        raise UpstreamFailed("The Codex CLI did not start a thread. Please try again.", code="codex_cli_failed")
    return thread


def _phase(item: Json) -> str | None:
    phase = item.get("phase")
    return phase if isinstance(phase, str) else None
