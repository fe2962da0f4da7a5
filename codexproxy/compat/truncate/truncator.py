"""Ends an answer early: ``stop`` and ``max_tokens``, which the backend lacks.

See docs/reference/errors.md#gateway-refusals.

The events that come out are those of an answer that ended there by itself:
deltas up to the cut, the ends of part and item, a terminal event. So whatever
reads them, folding included, needs no knowledge of the cut.

Upstream is closed at the cut, before it told its usage; the usage is estimated
then (``meter.py`` says how well) and carries ``"estimated": true``. Text and
tool arguments count against ``max_tokens``; reasoning, of which only a summary
is seen, does not.
"""

from collections.abc import Callable
from typing import Any

from codexproxy.compat.truncate.partial_response import (
    WRITTEN,
    Data,
    Key,
    Transcript,
    as_list,
    before,
    changed,
    part_index,
)
from codexproxy.compat.truncate.stop_sequences import Stopper
from codexproxy.errors import UpstreamFailed
from codexproxy.metering.output_tokens import Meter
from codexproxy.protocol.events import Batch, Event, key_of, written
from codexproxy.protocol.item_tracker import Places
from codexproxy.protocol.stream import EventStream


def cut(
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
    source = _CutSource(stream, Cutter(stop, max_tokens, count_input))
    return EventStream(source, stream.patience, stream.answerer)


class _CutSource:
    # A Source on top of a stream, so that the cut stream is a stream like any other.

    def __init__(self, stream: EventStream, cutter: "Cutter") -> None:
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
    def __init__(self, stop: tuple[str, ...]) -> None:
        self.stopper = Stopper(stop)
        self.received = 0


class Cutter:
    """The pure core of ``cut``: batches in, batches out.

    Attributes:
        ended: Whether the answer was cut; nothing more is to be fed then.
    """

    def __init__(
        self, stop: tuple[str, ...], max_tokens: int | None, count_input: Callable[[], int] | None = None
    ) -> None:
        self.ended = False
        self._stop = stop
        self._meter = Meter(max_tokens)
        self._count_input = count_input or _nothing
        self._said = Transcript()
        self._parts: dict[tuple[Key, int], _Part] = {}
        self._place: Any = None
        self._places = Places()
        self._out: Batch = []

    @property
    def passed(self) -> Batch:
        """What the last ``feed`` passed on, also when it raised."""
        return self._out

    def feed(self, batch: Batch) -> Batch:
        """The events to pass on; the last of them is a terminal event when the answer was cut."""
        self._out = []
        for event in batch:
            handler = _HANDLERS.get(event.type, Cutter._pass)
            about_all = handler in (Cutter._pass, Cutter._on_response, Cutter._on_end)
            handler(self, event if about_all else self._places.placed(event))
            if self.ended:
                break
        return self._out

    def _pass(self, event: Event) -> None:
        self._out.append(self._said.passed(event))

    def _pass_unless_cut(self, event: Event) -> None:
        if not self.ended:
            self._pass(event)

    # -- what only has to be known ------------------------------------------------------

    def _on_response(self, event: Event) -> None:
        self._said.note_response(event.data.get("response"))
        self._pass(event)

    def _on_added(self, event: Event) -> None:
        item = event.data.get("item")
        if isinstance(item, dict):
            self._said.note_item(key_of(event.data), item)
        self._pass(event)

    # -- text -----------------------------------------------------------------------------

    def _on_text(self, event: Event) -> None:
        data, index = event.data, part_index(event.data)
        delta = data.get("delta")
        if not isinstance(delta, str):
            self._pass(event)
            return
        shown = self._take(key_of(data), index, delta)
        self._pass(event if shown == delta else changed(event, {"delta": shown, "logprobs": []}))
        self._end_if_cut(data, index)

    def _take(self, key: Key, index: int, text: str, *, last: bool = False) -> str:
        part = self._part(key, index)
        part.received += len(text)
        shown = self._meter.take(part.stopper.take(text))
        if last and not (part.stopper.hit or self._meter.full):
            shown += self._meter.take(part.stopper.flush())
        self._said.show(key, index, shown)
        return shown

    def _part(self, key: Key, index: int) -> _Part:
        part = self._parts.get((key, index))
        if part is None:
            part = self._parts[key, index] = _Part(self._stop)
        self._turn_to((key, index))
        return part

    def _turn_to(self, place: Any) -> None:
        if place != self._place:
            self._place = place
            self._meter.part()

    def _on_text_end(self, event: Event) -> None:
        self._settle(event.data, part_index(event.data), event.data.get("text"))
        self._pass_unless_cut(event)

    def _settle(self, data: Data, index: int, whole: Any) -> None:
        # What its deltas did not hold, and what was held back, is shown before the end of a part.
        received = self._part(key_of(data), index).received
        rest = whole[received:] if isinstance(whole, str) else ""
        shown = self._take(key_of(data), index, rest, last=True)
        if shown:
            delta = {"type": "response.output_text.delta", "delta": shown, "logprobs": []}
            self._out.append(self._said.inserted(delta, data, index))
        self._end_if_cut(before(data), index)

    # -- calls and items ------------------------------------------------------------------

    def _on_fragment(self, event: Event) -> None:
        data = event.data
        delta = data.get("delta")
        if not isinstance(delta, str):
            self._pass(event)
            return
        shown = self._write(key_of(data), delta)
        self._pass(event if shown == delta else changed(event, {"delta": shown}))
        self._end_if_cut(data, None)

    def _write(self, key: Key, text: str) -> str:
        self._turn_to((key, None))
        shown = self._meter.take(text)
        self._said.write(key, shown)
        return shown

    def _on_written(self, event: Event) -> None:
        self._settle_written(event.data, event.data.get("arguments", event.data.get("input")))
        self._pass_unless_cut(event)

    def _settle_written(self, data: Data, whole: Any) -> None:
        if whole and not self._said.has_written(key_of(data)):
            self._write(key_of(data), written(whole))
            self._end_if_cut(before(data), None)

    def _on_item(self, event: Event) -> None:
        item = event.data.get("item")
        if isinstance(item, dict):
            self._settle_item(event.data, item)
        self._pass_unless_cut(event)

    def _settle_item(self, data: Data, item: Data) -> None:
        key = key_of(data)
        self._said.note_item(key, item)
        holder = WRITTEN.get(str(item.get("type")))
        for index, part in enumerate(as_list(item.get("content")) if item.get("type") == "message" else []):
            if not self.ended and isinstance(part, dict) and part.get("type") == "output_text":
                self._settle(data, index, part.get("text"))
        if holder:
            self._settle_written(data, item.get(holder))
        if not self.ended:
            self._said.note_item(key, item, done=True)

    # -- the end ----------------------------------------------------------------------------

    def _on_end(self, event: Event) -> None:
        response = event.data.get("response")
        self._said.note_response(response)
        for position, item in self._said.unseen(response):
            if not self.ended:
                self._settle_item({**event.data, **self._place_of(item, position)}, item)
        self._flush(event.data)
        self._pass_unless_cut(event)

    def _place_of(self, item: Data, position: int) -> Data:
        key = self._places.known(item, position)
        return {"output_index": key} if isinstance(key, int) else {"item_id": key}

    def _flush(self, data: Data) -> None:
        # Parts whose end never came must not keep what was held back.
        for (key, index), part in self._parts.items():
            if part.stopper.held and not self.ended:
                place = {"output_index": key} if isinstance(key, int) else {"item_id": key}
                self._settle({**data, **place}, index, None)

    def _end_if_cut(self, data: Data, index: int | None) -> None:
        stopped = index is not None and self._parts[key_of(data), index].stopper.hit
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
        self._out += self._said.ending(data, index, status, usage)


def _nothing() -> int:
    return 0


_HANDLERS: dict[str, Callable[[Cutter, Event], None]] = {
    "response.created": Cutter._on_response,
    "response.in_progress": Cutter._on_response,
    "response.output_item.added": Cutter._on_added,
    "response.output_text.delta": Cutter._on_text,
    "response.output_text.done": Cutter._on_text_end,
    "response.function_call_arguments.delta": Cutter._on_fragment,
    "response.custom_tool_call_input.delta": Cutter._on_fragment,
    "response.function_call_arguments.done": Cutter._on_written,
    "response.custom_tool_call_input.done": Cutter._on_written,
    "response.output_item.done": Cutter._on_item,
    "response.completed": Cutter._on_end,
    "response.done": Cutter._on_end,
    "response.incomplete": Cutter._on_end,
}
