"""Turns a stream's JSON answer back into the caller's shape, where its schema had to be fitted (``structured.py``).

Only complete JSON can be turned back. So the deltas of a text are held until
the text ends, and come as one; what tells the text again is changed alike.
"""

import time
from collections.abc import Callable
from typing import Any

from codexproxy.protocol.events import TERMINAL, Batch, Event, key_of
from codexproxy.protocol.item_tracker import part_index
from codexproxy.protocol.pacing import Pause, TooCostly, no_pause
from codexproxy.protocol.request import TextRestorer
from codexproxy.protocol.stream import EventStream

Data = dict[str, Any]

DELTA, TEXT_DONE = "response.output_text.delta", "response.output_text.done"
_PART_EVENTS = frozenset({"response.content_part.added", "response.content_part.done"})
_ITEM_EVENTS = frozenset({"response.output_item.added", "response.output_item.done"})


def reshape(
    stream: EventStream,
    restorer: TextRestorer,
    pause: Pause = no_pause,
    clock: Callable[[], float] = time.monotonic,
) -> EventStream:
    """The stream with its texts in the caller's shape; it is closed with the returned one.

    Args:
        stream: The answer.
        restorer: The way back.
        pause: Lets others run while a text is turned back.
        clock: Monotonic seconds.
    """
    return EventStream(_ReshapedSource(stream, Reshaper(restorer, pause), clock), stream.patience, stream.answerer)


class _ReshapedSource:
    # A Source on top of a stream, so that the reshaped stream is a stream like any other.

    def __init__(self, stream: EventStream, reshaper: "Reshaper", clock: Callable[[], float]) -> None:
        self._stream = stream
        self._batches = iter(stream)
        self._reshaper = reshaper
        self._clock = clock

    def read(self, patience: float) -> Batch | None:
        until = self._clock() + patience
        while True:
            batch = next(self._batches, None)
            if not batch:
                return batch
            shown = self._reshaper.feed(batch)
            if shown or self._clock() >= until:
                return shown

    def close(self) -> None:
        self._stream.close()


class Reshaper:
    """The pure core of ``reshape``: batches in, batches out.

    Args:
        restorer: The way back.
        pause: Lets others run.
    """

    def __init__(self, restorer: TextRestorer, pause: Pause = no_pause) -> None:
        self._restorer = restorer
        self._pause = pause
        # Texts under way: what came of each, and the data of its last delta.
        self._held: dict[tuple[Any, int], tuple[list[str], Data]] = {}
        self._restored: dict[str, str] = {}

    def feed(self, batch: Batch) -> Batch:
        """The events to pass on; fewer than came while a text is under way.

        Raises:
            UpstreamFailed: An event is not JSON.
        """
        return [shown for event in batch for shown in self._shown(event)]

    def _shown(self, event: Event) -> Batch:
        if event.type == DELTA:
            self._hold(event.data)
            return []
        if event.type == TEXT_DONE:
            data = event.data
            return [*self._released((key_of(data), part_index(data))), _changed(event, self._with_text(data))]
        if event.type in _PART_EVENTS:
            return [_changed(event, {**event.data, "part": self._with_text(event.data.get("part"))})]
        if event.type in _ITEM_EVENTS:
            return [_changed(event, {**event.data, "item": self._item(event.data.get("item"))})]
        if event.type in TERMINAL:
            return [*self._rest(), self._ending(event)]
        return [event]

    def _hold(self, data: Data) -> None:
        pieces, _ = self._held.setdefault((key_of(data), part_index(data)), ([], data))
        pieces.append(delta if isinstance(delta := data.get("delta"), str) else "")
        self._held[key_of(data), part_index(data)] = (pieces, data)

    def _released(self, key: tuple[Any, int]) -> Batch:
        pieces, last = self._held.pop(key, ([], {}))
        text = self._text("".join(pieces))
        return [Event.of({**last, "type": DELTA, "delta": text})] if text else []

    def _rest(self) -> Batch:
        return [event for key in list(self._held) for event in self._released(key)]

    def _ending(self, event: Event) -> Event:
        response = event.data.get("response")
        if not isinstance(response, dict) or not isinstance(response.get("output"), list):
            return event
        output = [self._item(item) for item in response["output"]]
        return _changed(event, {**event.data, "response": {**response, "output": output}})

    def _item(self, item: Any) -> Any:
        if not isinstance(item, dict) or item.get("type") != "message" or not isinstance(item.get("content"), list):
            return item
        return {**item, "content": [self._with_text(part) for part in item["content"]]}

    def _with_text(self, part: Any) -> Any:
        if not isinstance(part, dict) or not isinstance(part.get("text"), str) or not part["text"]:
            return part
        return {**part, "text": self._text(part["text"])}

    def _text(self, text: str) -> str:
        if text not in self._restored:
            try:
                self._restored[text] = self._restorer.text(text, self._pause)
            except TooCostly:
                self._restored[text] = text
        return self._restored[text]


def _changed(event: Event, data: Data) -> Event:
    return event if data == event.data else Event.of({**data, "type": event.type})
