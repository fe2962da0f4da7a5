"""What an answer is made of, told to a sink in the order a client should see it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from codexproxy.errors import ProxyError, UpstreamFailed
from codexproxy.protocol.events import Event, item_key
from codexproxy.protocol.item_tracker import ItemTracker

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that the client has to answer.

    Attributes:
        slot: Its place among the calls of this answer, from 0.
        id: The call id that its output must name.
        name: Name of the tool as upstream knows it.
        custom: Whether its input is free text instead of JSON arguments.
    """

    slot: int
    id: str
    name: str
    custom: bool


@dataclass(frozen=True, slots=True)
class Finish:
    """How an answer ended.

    Attributes:
        reason: ``complete``, ``length`` or ``filtered``.
        usage: Upstream's usage object, ``{}`` where it sent none.
        response: The terminal event's Response object.
    """

    reason: str
    usage: Data
    response: Data


class AnswerVisitor(Protocol):
    """What receives an answer."""

    def message(self) -> None:
        """A further message with text begins; called before that text."""

    def text(self, delta: str) -> None:
        """More text of the current message."""

    def refusal(self, delta: str) -> None:
        """More of the words with which the model refuses."""

    def reasoning(self, delta: str) -> None:
        """More of what the model says about its thinking."""

    def citation(self, citation: Data, start: int) -> None:
        """A source of a text; ``start`` counts the characters of all texts before that text's part."""

    def call(self, call: Call) -> None:
        """A tool call begins."""

    def fragment(self, call: Call, delta: str) -> None:
        """More of a call's arguments or input."""

    def end(self, ending: Finish) -> None:
        """The answer is complete, or as complete as it will be."""

    def failed(self, error: ProxyError) -> None:
        """Upstream reported a failure in the middle of the answer."""


def empty_answer() -> UpstreamFailed:
    """The failure of an answer that holds nothing at all (docs/reference/clients.md#empty-answers)."""
    return UpstreamFailed("Upstream finished without an answer. Please try again.", code="empty_response")


TEXT, REFUSAL, SUMMARY, THOUGHT = "output_text", "refusal", "summary_text", "reasoning_text"


@dataclass(slots=True)
class Part:
    """One content part of an item.

    Attributes:
        kind: What it holds.
        owner: Key of its item.
        show: What takes its text; None before there is any.
        start: Characters of all texts before it.
        shown: Characters of it that were shown.
        counted: How many of these are in the sum of all texts already; None where they are no text of the answer.
        cited: Citations of it that were shown.
        closed: Whether its end was seen.
    """

    kind: str
    owner: Any
    show: Callable[[str], None] | None = None
    start: int = 0
    shown: int = 0
    counted: int | None = None
    cited: int = 0
    closed: bool = False
    item: Any = ()
    index: Any = ()


class PartTracker:
    """Keeps what was shown of each part and passes on the rest.

    Args:
        sink: What receives the texts.
        asides: Whether commentary messages are shown as reasoning, for answers
            whose text must be nothing but the final answer (JSON mode).
        places: Tells which item an event belongs to.
    """

    def __init__(self, sink: AnswerVisitor, asides: bool, tracker: ItemTracker) -> None:
        self._sink = sink
        self._tracker = tracker
        self._asides = asides
        self._current = Part(TEXT, None)
        self._parts: dict[tuple[str, Any, Any], Part] = {}
        self._phases: dict[Any, Any] = {}
        self._by_owner: dict[Any, list[Part]] = {}
        # Characters of all texts; those of the part under way are added when it is left.
        self._length = 0
        self._message: Any = None
        self._thought = False

    # -- as it comes --------------------------------------------------------------

    def on_text(self, event: Event) -> None:
        """A delta of text; the hot path."""
        data = event.data
        delta = data.get("delta")
        if type(delta) is not str or not delta:
            return
        part = self._current
        if part.item != data.get("output_index") or part.index != data.get("content_index"):
            part = self._turn_to(data)
        if not part.closed:
            show = part.show or self._opened(part)
            part.shown += len(delta)
            show(delta)

    def _turn_to(self, data: Data) -> Part:
        index = data.get("content_index")
        self._count(self._current)
        part = self._current = self._part(TEXT, self._tracker.key(data), index)
        # Without an output index the part must be looked up every time.
        part.item, part.index = data.get("output_index", ()), index
        return part

    def on_refusal(self, event: Event) -> None:
        """A delta of a refusal."""
        self._grow(REFUSAL, event.data, "content_index")

    def on_summary(self, event: Event) -> None:
        """A delta of a reasoning summary."""
        self._grow(SUMMARY, event.data, "summary_index")

    def on_thought(self, event: Event) -> None:
        """A delta of raw reasoning."""
        self._grow(THOUGHT, event.data, "content_index")

    def _grow(self, kind: str, data: Data, position: str) -> None:
        delta = data.get("delta")
        if isinstance(delta, str) and delta:
            self._show(self._part(kind, item_key(data), data.get(position)), delta)

    def on_citation(self, event: Event) -> None:
        """A citation of a text."""
        data = event.data
        index = data.get("content_index")
        part = self._parts.get((TEXT, item_key(data), index if isinstance(index, int) else 0))
        if part is not None and part.owner not in self._tracker.done:
            self._cite(part, [data.get("annotation")])

    # -- ends ---------------------------------------------------------------------

    def on_text_end(self, event: Event) -> None:
        """The whole of a text part."""
        self._end_part(TEXT, event.data)

    def on_refusal_end(self, event: Event) -> None:
        """The whole of a refusal."""
        self._end_part(REFUSAL, event.data)

    def on_summary_end(self, event: Event) -> None:
        """The whole of a part of a reasoning summary."""
        self._end_part(SUMMARY, event.data, "summary_index")

    def on_thought_end(self, event: Event) -> None:
        """The whole of a part of raw reasoning."""
        self._end_part(THOUGHT, event.data)

    def _end_part(self, kind: str, data: Data, position: str = "content_index") -> None:
        part = self._finish(kind, item_key(data), data.get(position) or 0, data)
        part.closed = True

    def begin_item(self, key: Any, item: Data) -> None:
        """An item was announced; its phase decides how its text is told."""
        self._phases[key] = item.get("phase")

    def end_item(self, key: Any, item: Data, holders: tuple[str, ...]) -> None:
        """An item is complete; what its deltas did not hold is shown now."""
        self._phases.setdefault(key, item.get("phase"))
        for holder in holders:
            for index, part in enumerate(_list(item.get(holder))):
                kind = part.get("type") if isinstance(part, dict) else None
                if kind in (TEXT, REFUSAL, SUMMARY, THOUGHT):
                    finished = self._finish(kind, key, index, part)
                    self._cite(finished, _list(part.get("annotations"))[finished.cited :])
        for part in self._by_owner.get(key, ()):
            part.closed = True

    def _finish(self, kind: str, key: Any, index: Any, data: Data) -> Part:
        part, whole = self._part(kind, key, index), data.get("refusal" if kind == REFUSAL else "text")
        if isinstance(whole, str) and len(whole) > part.shown:
            self._show(part, whole[part.shown :])
        return part

    @property
    def said(self) -> bool:
        """Whether anything was shown."""
        return any(part.shown for part in self._parts.values())

    def _cite(self, part: Part, citations: list[Any]) -> None:
        for citation in citations:
            if isinstance(citation, dict):
                part.cited += 1
                self._sink.citation(citation, part.start)

    # -- parts --------------------------------------------------------------------

    def _part(self, kind: str, owner: Any, index: Any) -> Part:
        key = (kind, owner, index if isinstance(index, int) else 0)
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = Part(kind, owner, closed=owner in self._tracker.done)
            self._by_owner.setdefault(owner, []).append(part)
        return part

    def _show(self, part: Part, delta: str) -> None:
        if not part.closed:
            show = part.show or self._opened(part)
            part.shown += len(delta)
            show(delta)
            self._count(part)

    def _count(self, part: Part) -> None:
        if part.counted is not None:
            self._length += part.shown - part.counted
            part.counted = part.shown

    def _opened(self, part: Part) -> Callable[[str], None]:
        part.show = self._OPENERS[part.kind](self, part)
        return part.show

    def _open_text(self, part: Part) -> Callable[[str], None]:
        if self._asides and self._phases.get(part.owner) == "commentary":
            return self._open_thought(part)
        if self._message not in (None, part.owner):
            self._sink.message()
        self._message = part.owner
        self._count(self._current)
        part.start, part.counted = self._length, 0
        return self._sink.text

    def _open_refusal(self, part: Part) -> Callable[[str], None]:
        return self._sink.refusal

    def _open_thought(self, part: Part) -> Callable[[str], None]:
        if self._thought:
            self._sink.reasoning("\n\n")
        self._thought = True
        return self._sink.reasoning

    _OPENERS: ClassVar[dict[str, Callable[["PartTracker", Part], Callable[[str], None]]]] = {
        TEXT: _open_text,
        REFUSAL: _open_refusal,
        SUMMARY: _open_thought,
        THOUGHT: _open_thought,
    }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
