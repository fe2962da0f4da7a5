"""Turns JSON that was written for a fitted schema back into the caller's shape, in texts and in streams.

Only complete JSON can be turned back. So the deltas of a text are held until
the text ends, and come as one; what repeats the text is changed alike.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from codexproxy.protocol.events import TERMINAL, Batch, Event, encode_json, item_key
from codexproxy.protocol.item_tracker import part_index
from codexproxy.protocol.pacing import Pause, Steps, TooCostly, no_pause
from codexproxy.protocol.request import TextRestorer
from codexproxy.protocol.stream import EventStream

# Steps that decoding one answer may take; many options for many entries multiply.
MOST_STEPS = 500_000


@dataclass(frozen=True, slots=True)
class DecodeContext:
    """What decoding an answer needs.

    Attributes:
        decoders: Decoders of the schema's definitions, by name.
        steps: The budget.
    """

    decoders: Mapping[str, "Decoder"]
    steps: Steps


@dataclass(frozen=True, slots=True)
class Decoder:
    """How a value goes back; the plain one leaves it as it is."""

    def restore(self, value: Any, context: "DecodeContext") -> Any:
        """The value in the caller's shape; what does not fit the decoder stays as it is.

        Args:
            value: What the model wrote.
            context: What decoding needs.
        """
        return value

    def fits(self, value: Any, context: "DecodeContext") -> bool:
        """Whether a value can have been written for this decoder's schema.

        Raises:
            TooCostly: The context's budget is used up.
        """
        return True


KEEP = Decoder()


@dataclass(frozen=True, slots=True)
class KindsDecoder(Decoder):
    """A value of certain JSON types, or one of certain values."""

    types: frozenset[str] = frozenset()
    values: tuple[Any, ...] = ()

    def fits(self, value: Any, context: "DecodeContext") -> bool:
        context.steps.spend(1 + len(self.values))
        if self.values:
            return any(type(value) is type(other) and value == other for other in self.values)
        return not self.types or bool(json_types(value) & self.types)


@dataclass(frozen=True, slots=True)
class ObjectDecoder(Decoder):
    """An object; a null stands for an optional property that was left out."""

    properties: Mapping[str, Decoder] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()

    def restore(self, value: Any, context: "DecodeContext") -> Any:
        if not isinstance(value, dict):
            return value
        kept = {key: entry for key, entry in value.items() if entry is not None or key not in self.optional}
        return {key: self.properties.get(key, KEEP).restore(entry, context) for key, entry in kept.items()}

    def fits(self, value: Any, context: "DecodeContext") -> bool:
        context.steps.spend(1)
        if not isinstance(value, dict) or value.keys() != self.properties.keys():
            return False
        return all(
            decoder.fits(value[key], context) or (value[key] is None and key in self.optional)
            for key, decoder in self.properties.items()
        )


@dataclass(frozen=True, slots=True)
class ListDecoder(Decoder):
    """An array of like entries."""

    entry: Decoder = KEEP

    def restore(self, value: Any, context: "DecodeContext") -> Any:
        return [self.entry.restore(entry, context) for entry in value] if isinstance(value, list) else value

    def fits(self, value: Any, context: "DecodeContext") -> bool:
        return isinstance(value, list)


@dataclass(frozen=True, slots=True)
class TupleDecoder(Decoder):
    """An array of fixed places, written as an object with the keys ``"0"``, ``"1"``, …"""

    entries: tuple[Decoder, ...] = ()

    def restore(self, value: Any, context: "DecodeContext") -> Any:
        if not self.fits(value, context):
            return value
        return [decoder.restore(value[str(place)], context) for place, decoder in enumerate(self.entries)]

    def fits(self, value: Any, context: "DecodeContext") -> bool:
        context.steps.spend(len(self.entries))
        return isinstance(value, dict) and value.keys() == {str(place) for place in range(len(self.entries))}


@dataclass(frozen=True, slots=True)
class MapDecoder(Decoder):
    """An object with free keys, written as a list of ``{"key", "value"}``."""

    entry: Decoder = KEEP

    def restore(self, value: Any, context: "DecodeContext") -> Any:
        if not self.fits(value, context):
            return value
        return {str(pair["key"]): self.entry.restore(pair["value"], context) for pair in value}

    def fits(self, value: Any, context: "DecodeContext") -> bool:
        context.steps.spend(len(value) if isinstance(value, list) else 1)
        return isinstance(value, list) and all(
            isinstance(pair, dict) and pair.keys() == {"key", "value"} for pair in value
        )


@dataclass(frozen=True, slots=True)
class ChoiceDecoder(Decoder):
    """One of several; the first that fits is meant."""

    options: tuple[Decoder, ...] = ()

    def restore(self, value: Any, context: "DecodeContext") -> Any:
        context.steps.spend(1)
        chosen = next((decoder for decoder in self.options if _meant(decoder, context).fits(value, context)), KEEP)
        return chosen.restore(value, context)


@dataclass(frozen=True, slots=True)
class RefDecoder(Decoder):
    """What a definition of the schema says."""

    name: str = ""

    def restore(self, value: Any, context: "DecodeContext") -> Any:
        return context.decoders.get(self.name, KEEP).restore(value, context)


@dataclass(frozen=True, slots=True)
class WrapDecoder(Decoder):
    """A value that is no object, written as ``{"value": …}``."""

    inner: Decoder = KEEP

    def restore(self, value: Any, context: "DecodeContext") -> Any:
        if isinstance(value, dict) and value.keys() == {"value"}:
            return self.inner.restore(value["value"], context)
        return value


@dataclass(frozen=True, slots=True)
class Restorer:
    """Turns answers to a whole schema back.

    Attributes:
        root: The decoder of the answer itself.
        decoders: Decoders of the schema's definitions.
    """

    root: Decoder
    decoders: Mapping[str, Decoder] = field(default_factory=dict)

    def text(self, text: str, pause: Pause = no_pause) -> str:
        """JSON text in the caller's shape; text that is no JSON (an answer that was cut) as it is.

        Raises:
            TooCostly: It cannot be turned back with a bounded number of steps.
        """
        try:
            value = json.loads(text)
            return encode_json(
                self.root.restore(value, DecodeContext(self.decoders, Steps(MOST_STEPS, pause)))
            ).decode()
        except (ValueError, RecursionError):
            return text


def json_types(value: Any) -> frozenset[str]:
    """The names that JSON Schema has for a value's type."""
    if isinstance(value, bool):
        return frozenset({"boolean"})
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return frozenset({"integer", "number"})
    return frozenset({_TYPES.get(type(value), "null")})


_TYPES = {float: "number", str: "string", list: "array", dict: "object"}


def _meant(decoder: Decoder, context: DecodeContext) -> Decoder:
    context.steps.spend(1)
    return context.decoders.get(decoder.name, KEEP) if isinstance(decoder, RefDecoder) else decoder


Data = dict[str, Any]

DELTA, TEXT_DONE = "response.output_text.delta", "response.output_text.done"
_PART_EVENTS = frozenset({"response.content_part.added", "response.content_part.done"})
_ITEM_EVENTS = frozenset({"response.output_item.added", "response.output_item.done"})


def decode_stream(
    stream: EventStream,
    restorer: TextRestorer,
    pause: Pause = no_pause,
    clock: Callable[[], float] = time.monotonic,
) -> EventStream:
    """The stream with its texts in the caller's shape; it is closed with the returned one.

    Args:
        stream: The answer.
        restorer: Turns the text back.
        pause: Lets others run while a text is turned back.
        clock: Monotonic seconds.
    """
    return EventStream(_ReshapedSource(stream, StreamDecoder(restorer, pause), clock), stream.patience, stream.answerer)


class _ReshapedSource:
    # A Source on top of a stream, so that the reshaped stream is a stream like any other.

    def __init__(self, stream: EventStream, reshaper: "StreamDecoder", clock: Callable[[], float]) -> None:
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


class StreamDecoder:
    """The pure core of ``decode_stream``: batches in, batches out.

    Args:
        restorer: Turns the text back.
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
            return [*self._released((item_key(data), part_index(data))), _changed(event, self._with_text(data))]
        if event.type in _PART_EVENTS:
            return [_changed(event, {**event.data, "part": self._with_text(event.data.get("part"))})]
        if event.type in _ITEM_EVENTS:
            return [_changed(event, {**event.data, "item": self._item(event.data.get("item"))})]
        if event.type in TERMINAL:
            return [*self._rest(), self._ending(event)]
        return [event]

    def _hold(self, data: Data) -> None:
        pieces, _ = self._held.setdefault((item_key(data), part_index(data)), ([], data))
        pieces.append(delta if isinstance(delta := data.get("delta"), str) else "")
        self._held[item_key(data), part_index(data)] = (pieces, data)

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
