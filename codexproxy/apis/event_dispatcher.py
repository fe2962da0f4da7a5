"""Reads the events of one answer and tells a sink what a client should see, each thing once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from codexproxy.apis.visitor import AnswerVisitor, Call, Data, Finish, PartTracker, empty_answer
from codexproxy.protocol.aggregate import is_reasoning_only
from codexproxy.protocol.error_mapping import failure_of, text_of
from codexproxy.protocol.events import Batch, Event, as_text, item_key
from codexproxy.protocol.item_tracker import ADDED, DONE, ItemTracker

CALLS = ("function_call", "custom_tool_call")

_TEXT_DELTA = "response.output_text.delta"


@dataclass(slots=True)
class _Open:
    call: Call
    shown: int = 0
    closed: bool = False


class EventDispatcher:
    """Turns events into calls of a sink.

    Args:
        sink: What receives the answer.
        reasoning: Whether the sink wants reasoning at all; where not, its events are not even parsed.
        asides: Whether commentary messages are shown as reasoning (see ``PartTracker``).

    Attributes:
        ended: Whether the answer has ended or failed; further events are ignored.
    """

    def __init__(self, sink: AnswerVisitor, *, reasoning: bool = True, asides: bool = False) -> None:
        self.ended = False
        self._sink = sink
        self._reasoning = reasoning
        self._tracker = ItemTracker()
        self._parts = PartTracker(sink, asides, self._tracker)
        self._calls: dict[Any, _Open] = {}
        self._early: dict[Any, list[str]] = {}
        self._hosted = False

    def read(self, batch: Batch) -> None:
        """Takes the next events of the stream.

        Raises:
            UpstreamFailed: The answer holds nothing at all, or an event is garbage.
        """
        on_text = self._parts.on_text
        for event in batch:
            if self.ended:
                return
            if event.type == _TEXT_DELTA:
                # The hot path finds its place by itself.
                on_text(event)
            else:
                self._take(event)

    def _take(self, event: Event) -> None:
        type = event.type
        of_parts = _OF_PARTS.get(type) or (_OF_THOUGHT.get(type) if self._reasoning else None)
        if of_parts is not None:
            of_parts(self._parts, self._tracker.resolve(event))
        elif type in _OF_ITEMS:
            _OF_ITEMS[type](self, self._tracker.resolve(event))
        elif type in _ENDS:
            _ENDS[type](self, event)

    # -- calls --------------------------------------------------------------------

    def _on_fragment(self, event: Event) -> None:
        key, delta = item_key(event.data), event.data.get("delta")
        opened = self._calls.get(key)
        if not isinstance(delta, str) or not delta:
            return
        if opened is None:
            # There is no header yet to put it behind.
            self._early.setdefault(key, []).append(delta)
        elif not opened.closed:
            self._show(opened, delta)

    def _show(self, opened: _Open, text: str) -> None:
        opened.shown += len(text)
        self._sink.fragment(opened.call, text)

    def _on_call_end(self, event: Event) -> None:
        opened = self._calls.get(item_key(event.data))
        if opened is not None:
            self._finish_call(opened, event.data)

    def _open_call(self, key: Any, item: Data) -> _Open | None:
        # Without a name there is no header yet; the finished item will have one.
        name, opened = item.get("name"), self._calls.get(key)
        if opened is None and isinstance(name, str) and name:
            id = text_of(item.get("call_id")) or text_of(item.get("id")) or f"call_{len(self._calls)}"
            call = Call(len(self._calls), id, name, item["type"] == "custom_tool_call")
            opened = self._calls[key] = _Open(call)
            self._sink.call(call)
            if key in self._early:
                self._show(opened, "".join(self._early.pop(key)))
        return opened

    def _finish_call(self, opened: _Open, data: Data, *, last: bool = False) -> None:
        if opened.closed:
            return
        given = data.get("input" if opened.call.custom else "arguments")
        # JSON that is no string, after pieces of it that were, is the same in other letters.
        whole = as_text(given) if isinstance(given, str) or not opened.shown else ""
        if last and not (whole or opened.shown or opened.call.custom or data.get("status") == "incomplete"):
            # Arguments are JSON, of which no text at all is none; clients parse it.
            whole = "{}"
        if len(whole) > opened.shown:
            self._show(opened, whole[opened.shown :])
        opened.closed = last or bool(whole)

    # -- items --------------------------------------------------------------------

    def _on_added(self, event: Event) -> None:
        item, key = event.data.get("item"), item_key(event.data)
        if isinstance(item, dict) and key not in self._tracker.done:
            self._parts.begin_item(key, item)
            if item.get("type") in CALLS:
                self._open_call(key, item)
            elif item.get("type") not in ("message", "reasoning"):
                self._hosted = True

    def _on_done(self, event: Event) -> None:
        item = event.data.get("item")
        if isinstance(item, dict):
            self._finish_item(item_key(event.data), item)

    def _finish_item(self, key: Any, item: Data) -> None:
        if key in self._tracker.done:
            return
        kind = item.get("type")
        if kind in CALLS:
            opened = self._open_call(key, item)
            if opened is not None:
                self._finish_call(opened, item, last=True)
        elif kind == "message":
            self._parts.end_item(key, item, ("content",))
        elif kind != "reasoning":
            # Hosted calls never become calls of the client's.
            self._hosted = True
        elif self._reasoning:
            self._parts.end_item(key, item, ("summary", "content"))
        self._tracker.finish(key, item)

    # -- the end ------------------------------------------------------------------

    def _on_end(self, event: Event) -> None:
        response = event.data.get("response")
        self.finish(response if isinstance(response, dict) else {}, event.type)

    def finish(self, response: Data, type: str = "") -> None:
        """Takes the final Response object; what of it was not streamed is shown now.

        Raises:
            UpstreamFailed: The answer holds nothing at all.
        """
        if response.get("status") == "failed":
            self._on_failure(Event.of({"type": "response.failed", "response": response}))
            return
        for key, item in self._tracker.unfinished(response.get("output")):
            self._finish_item(key, item)
        usage = response.get("usage")
        ending = Finish(reason_of(response, type), usage if isinstance(usage, dict) else {}, response)
        if ending.reason == "complete" and self._is_empty(ending.usage):
            raise empty_answer()
        self._stop()
        self._sink.end(ending)

    def _stop(self) -> None:
        # What follows is not part of the answer.
        self.ended = True

    def _is_empty(self, usage: Data) -> bool:
        # An answer that was cut here (compat/truncate/truncator.py) may be cut before its first word. One that
        # took tokens may be an item without words; without an item, it may be all thought.
        told = self._calls or self._hosted or self._parts.said or usage.get("estimated")
        return not (told or (self._tracker.done and usage.get("output_tokens")) or is_reasoning_only(usage))

    def _on_failure(self, event: Event) -> None:
        error = failure_of(event)
        if error is not None:
            self._stop()
            self._sink.failed(error)


# What is done with events that belong to a part, or to an item; each has to find its place first.
_OF_PARTS: dict[str, Callable[[PartTracker, Event], None]] = {
    "response.output_text.done": PartTracker.on_text_end,
    "response.output_text.annotation.added": PartTracker.on_citation,
    "response.refusal.delta": PartTracker.on_refusal,
    "response.refusal.done": PartTracker.on_refusal_end,
}
_OF_THOUGHT: dict[str, Callable[[PartTracker, Event], None]] = {
    "response.reasoning_summary_text.delta": PartTracker.on_summary,
    "response.reasoning_summary_text.done": PartTracker.on_summary_end,
    "response.reasoning_text.delta": PartTracker.on_thought,
    "response.reasoning_text.done": PartTracker.on_thought_end,
}
_OF_ITEMS: dict[str, Callable[[EventDispatcher, Event], None]] = {
    "response.function_call_arguments.delta": EventDispatcher._on_fragment,
    "response.function_call_arguments.done": EventDispatcher._on_call_end,
    "response.custom_tool_call_input.delta": EventDispatcher._on_fragment,
    "response.custom_tool_call_input.done": EventDispatcher._on_call_end,
    ADDED: EventDispatcher._on_added,
    DONE: EventDispatcher._on_done,
}
_ENDS: dict[str, Callable[[EventDispatcher, Event], None]] = {
    "response.completed": EventDispatcher._on_end,
    "response.done": EventDispatcher._on_end,
    "response.incomplete": EventDispatcher._on_end,
    "response.failed": EventDispatcher._on_failure,
    "error": EventDispatcher._on_failure,
}


def reason_of(response: Data, type: str = "") -> str:
    """Why an answer ended: ``complete``, ``length`` or ``filtered``."""
    if type != "response.incomplete" and response.get("status") != "incomplete":
        return "complete"
    details = response.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    return "filtered" if reason == "content_filter" else "length"
