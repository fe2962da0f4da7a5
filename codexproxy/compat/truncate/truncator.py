"""Ends an answer early: ``stop`` and ``max_tokens``, which the backend lacks.

See docs/reference/errors.md#gateway-refusals.

The events that come out are those of an answer that ended there by itself:
deltas up to the cut, the ends of part and item, a terminal event. So whatever
reads them, folding included, needs no knowledge of the cut.

Upstream is closed at the cut, before it told its usage; the usage is estimated
then (``text_limits.py`` says how well) and carries ``"estimated": true``. Text and
tool arguments count against ``max_tokens``; reasoning, of which only a summary
is seen, does not.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from codexproxy.compat.truncate.text_limits import StopSequenceMatcher, StreamingTokenCounter
from codexproxy.errors import UpstreamFailed
from codexproxy.protocol.aggregate import ResponseAggregator
from codexproxy.protocol.events import Batch, Event, as_text, item_id, item_key
from codexproxy.protocol.item_tracker import ADDED, CALL_FIELDS, DONE, Data, ItemTracker, Key, part_index, place_of
from codexproxy.protocol.stream import EventStream

_TEXT_DELTA = "response.output_text.delta"
# Key of an item and index of one of its parts; None for what is written into a call.
_Place = tuple[Key | None, int | None]
# Field of a call -> the event with a piece of it.
_FRAGMENTS = {
    "arguments": "response.function_call_arguments.delta",
    "input": "response.custom_tool_call_input.delta",
}
_BLANK = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}


def truncate(
    stream: EventStream, stop: tuple[str, ...], max_tokens: int | None, count_input: Callable[[], int] | None = None
) -> EventStream:
    """The stream, ended where the caller wants it to end.

    Args:
        stream: The answer; it is closed with the returned stream, and at the cut.
        stop: Texts before which the answer ends.
        max_tokens: Most tokens of the answer.
        count_input: Estimates the tokens of the request, for the usage of an answer that was cut;
            called only then.
    """
    if not stop and max_tokens is None:
        return stream
    source = _CutSource(stream, StreamTruncator(stop, max_tokens, count_input))
    return EventStream(source, stream.patience, stream.answerer)


class _CutSource:
    # A Source on top of a stream, so that the cut stream is a stream like any other.

    def __init__(self, stream: EventStream, cutter: "StreamTruncator") -> None:
        self._stream = stream
        self._batches = iter(stream)
        self._cutter = cutter
        self._fault: UpstreamFailed | None = None

    def read(self, patience: float) -> Batch | None:
        if self._fault is not None:
            raise self._fault
        batch = None if self._cutter.ended else next(self._batches, None)
        return self._fed(batch) if batch else batch

    def _fed(self, batch: Batch) -> Batch:
        try:
            fed = self._cutter.feed(batch)
        except UpstreamFailed as error:
            # What came before the event that is none is passed on first.
            self._fault, fed = error, self._cutter.passed
            if not fed:
                raise
        if self._cutter.ended:
            self.close()
        return fed

    def close(self) -> None:
        self._stream.close()


class _Part:
    # A text, or what the model writes into a call, which has no stop texts.

    def __init__(self, stop: tuple[str, ...]) -> None:
        self.stopper = StopSequenceMatcher(stop)
        self.received = 0


class StreamTruncator:
    """The pure core of ``truncate``: batches in, batches out.

    Attributes:
        ended: Whether the answer was cut; nothing more is to be fed then.
    """

    def __init__(
        self, stop: tuple[str, ...], max_tokens: int | None, count_input: Callable[[], int] | None = None
    ) -> None:
        self.ended = False
        self._stop = stop
        self._meter = StreamingTokenCounter(max_tokens)
        self._count_input = count_input or _nothing
        # What was passed on, which is the answer when it is cut.
        self._answer = ResponseAggregator()
        self._taken = 0
        # How many more events went out than came in; later sequence numbers move by it.
        self._shift = 0
        self._parts: dict[_Place, _Part] = {}
        self._place: _Place | None = None
        self._tracker = ItemTracker()
        self._out: Batch = []

    @property
    def passed(self) -> Batch:
        """What the last ``feed`` passed on, also when it raised."""
        return self._out

    def feed(self, batch: Batch) -> Batch:
        """The events to pass on; the last of them is a terminal event when the answer was cut."""
        self._out, self._taken = [], 0
        for event in batch:
            handler = _OF_ITEMS.get(event.type)
            if handler is not None:
                handler(self, self._tracker.resolve(event))
            elif event.type in _ENDS:
                self._on_end(event)
            else:
                self._pass(event)
            if self.ended:
                return self._out
        self._take_out()
        return self._out

    def _take_out(self) -> None:
        self._answer.add(self._out[self._taken :])
        self._taken = len(self._out)

    def _pass(self, event: Event) -> None:
        if self._shift and isinstance(number := event.data.get("sequence_number"), int):
            event = _changed(event, {"sequence_number": number + self._shift})
        self._out.append(event)

    def _pass_unless_cut(self, event: Event) -> None:
        if not self.ended:
            self._pass(event)

    # -- text -----------------------------------------------------------------------------

    def _on_text(self, event: Event) -> None:
        data, index = event.data, part_index(event.data)
        delta = data.get("delta")
        if not isinstance(delta, str):
            self._pass(event)
            return
        shown = self._take(item_key(data), index, delta)
        self._pass(event if shown == delta else _changed(event, {"delta": shown, "logprobs": []}))
        self._end_if_cut(data, index)

    def _take(self, key: Key | None, index: int, text: str, *, last: bool = False) -> str:
        part = self._part(key, index)
        part.received += len(text)
        shown = self._meter.take(part.stopper.take(text))
        if last and not (part.stopper.hit or self._meter.full):
            shown += self._meter.take(part.stopper.flush())
        return shown

    def _part(self, key: Key | None, index: int | None) -> _Part:
        place = (key, index)
        part = self._parts.get(place)
        if part is None:
            part = self._parts[place] = _Part(() if index is None else self._stop)
        if place != self._place:
            self._place = place
            self._meter.part()
        return part

    def _on_text_end(self, event: Event) -> None:
        self._settle(event.data, part_index(event.data), event.data.get("text"))
        self._pass_unless_cut(event)

    def _settle(self, data: Data, index: int, whole: Any) -> None:
        # What its deltas did not hold, and what was held back, is shown before the end of a part.
        received = self._part(item_key(data), index).received
        rest = whole[received:] if isinstance(whole, str) else ""
        shown = self._take(item_key(data), index, rest, last=True)
        if shown:
            delta = {"type": _TEXT_DELTA, "delta": shown, "logprobs": []}
            self._out += _numbered([{**delta, **_place(data, index)}], _before(data), self._shift)
            self._shift += 1
        self._end_if_cut(_before(data), index)

    # -- calls and items ------------------------------------------------------------------

    def _on_fragment(self, event: Event) -> None:
        data = event.data
        delta = data.get("delta")
        if not isinstance(delta, str):
            self._pass(event)
            return
        shown = self._write(item_key(data), delta)
        self._pass(event if shown == delta else _changed(event, {"delta": shown}))
        self._end_if_cut(data, None)

    def _write(self, key: Key | None, text: str) -> str:
        self._part(key, None).received += len(text)
        return self._meter.take(text)

    def _on_written(self, event: Event) -> None:
        field = "arguments" if "arguments" in event.data else "input"
        self._settle_written(event.data, field, event.data.get(field))
        self._pass_unless_cut(event)

    def _settle_written(self, data: Data, field: str, whole: Any) -> None:
        key = item_key(data)
        if whole and (key, None) not in self._parts:
            shown = self._write(key, as_text(whole))
            if self._meter.full:
                self._learn(_FRAGMENTS[field], data, delta=shown)
            self._end_if_cut(_before(data), None)

    def _on_item(self, event: Event) -> None:
        item = event.data.get("item")
        if isinstance(item, dict):
            self._settle_item(event.data, item)
            if not self.ended and (key := item_key(event.data)) is not None:
                self._tracker.finish(key, item)
        self._pass_unless_cut(event)

    def _settle_item(self, data: Data, item: Data) -> None:
        field, content = CALL_FIELDS.get(str(item.get("type"))), item.get("content")
        if not self._answer.knows(data):
            self._learn(ADDED, data, item={**item, "content": [], **({field: ""} if field else {})})
        for index, part in enumerate(content if item.get("type") == "message" and isinstance(content, list) else []):
            if not self.ended and isinstance(part, dict) and part.get("type") == "output_text":
                self._settle(data, index, part.get("text"))
        if field:
            self._settle_written(data, field, item.get(field))

    def _learn(self, type: str, data: Data, **fields: Any) -> None:
        """Takes down what the answer holds although no event of it was passed on."""
        self._take_out()
        self._answer.add([Event(type, b"", b"", {**_place(data, None), **fields})])

    # -- the end ----------------------------------------------------------------------------

    def _on_end(self, event: Event) -> None:
        response = event.data.get("response")
        self._answer.add([event])
        for key, item in self._tracker.unfinished(response.get("output") if isinstance(response, dict) else None):
            if not self.ended:
                self._settle_item({**event.data, **place_of(key)}, item)
        self._flush(event.data)
        self._pass_unless_cut(event)

    def _flush(self, data: Data) -> None:
        # Parts whose end never came must not keep what was held back.
        for (key, index), part in self._parts.items():
            if index is not None and part.stopper.held and not self.ended:
                self._settle({**data, **place_of(key)}, index, None)

    def _end_if_cut(self, data: Data, index: int | None) -> None:
        stopped = index is not None and self._parts[item_key(data), index].stopper.hit
        if stopped and not self._meter.full:
            self._end(data, index, "completed")
        elif self._meter.full:
            self._end(data, index, "incomplete")

    def _end(self, data: Data, index: int | None, status: str) -> None:
        self.ended = True
        asked, spent = self._count_input(), self._meter.count
        usage = {
            "input_tokens": asked,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": spent,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": asked + spent,
            "estimated": True,
        }
        if index is not None:
            self._learn(_TEXT_DELTA, data, content_index=index, delta="")
        self._take_out()
        item = self._answer.item(data)
        item["status"] = status
        self._out += _numbered([*_ends(item, data, index), self._final(status, usage)], data, self._shift)

    def _final(self, status: str, usage: Data) -> Data:
        return {"type": f"response.{status}", "response": self._answer.ended(status, usage)}


def _nothing() -> int:
    return 0


def _ends(item: Data, data: Data, index: int | None) -> Iterator[Data]:
    content = item.get("content")
    if index is not None and isinstance(content, list) and content:
        content[:] = [_filled(part) for part in content]
        part, place = content[min(index, len(content) - 1)], _place(data, index)
        yield {"type": "response.output_text.done", "text": part.get("text"), "logprobs": [], **place}
        yield {"type": "response.content_part.done", "part": part, **place}
    yield {"type": DONE, "item": item, **_place(data, None)}


def _filled(part: Data) -> Data:
    return {**_BLANK, **part} if part.get("type") == "output_text" else part


def _place(data: Data, index: int | None) -> Data:
    place = {"output_index": data.get("output_index"), "item_id": item_id(data), "content_index": index}
    return {name: value for name, value in place.items() if value is not None}


def _numbered(told: Iterable[Data], data: Data, shift: int) -> Batch:
    """Events that follow the one whose data is given, with the sequence numbers after it."""
    number = data.get("sequence_number")
    if not isinstance(number, int):
        return [Event.of(each) for each in told]
    return [Event.of({**each, "sequence_number": number + shift + count}) for count, each in enumerate(told, 1)]


def _before(data: Data) -> Data:
    """The place before an event that is not passed on, since all of it is cut."""
    number = data.get("sequence_number")
    return {**data, "sequence_number": number - 1} if isinstance(number, int) else data


def _changed(event: Event, change: Data) -> Event:
    """The event with other data; its sequence number stays."""
    return Event.of({**event.data, "type": event.type, **change})


_OF_ITEMS: dict[str, Callable[[StreamTruncator, Event], None]] = {
    ADDED: StreamTruncator._pass,
    DONE: StreamTruncator._on_item,
    _TEXT_DELTA: StreamTruncator._on_text,
    "response.output_text.done": StreamTruncator._on_text_end,
    "response.function_call_arguments.delta": StreamTruncator._on_fragment,
    "response.custom_tool_call_input.delta": StreamTruncator._on_fragment,
    "response.function_call_arguments.done": StreamTruncator._on_written,
    "response.custom_tool_call_input.done": StreamTruncator._on_written,
}
_ENDS = frozenset({"response.completed", "response.done", "response.incomplete"})
