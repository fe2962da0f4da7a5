"""Texts of a stream in the caller's shape, in every event that tells them."""

import json
from typing import Any

import pytest

from codexproxy.compat.strict_schema.decode import StreamDecoder, decode_stream
from codexproxy.compat.strict_schema.encode import to_strict
from codexproxy.protocol.aggregate import aggregate
from codexproxy.protocol.events import Event
from codexproxy.protocol.stream import EventStream
from tests.fakes.backends import ScriptedSource
from tests.fakes.clock import Clock

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "nick": {"type": "string"}},
    "required": ["city"],
}
RESTORER = to_strict(SCHEMA, strict=True).restorer
assert RESTORER is not None
WRITTEN, MEANT = '{"city":"Paris","nick":null}', '{"city":"Paris"}'
PLACE = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}


def events(text: str, pieces: int = 4, end: str = "response.completed") -> list[Event]:
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}
    step = max(1, len(text) // pieces)
    deltas = [text[start : start + step] for start in range(0, len(text), step)]
    told: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": "resp_1", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        *({"type": "response.output_text.delta", "delta": delta, **PLACE} for delta in deltas),
        {"type": "response.output_text.done", "text": text, **PLACE},
        {"type": "response.content_part.done", "part": part, **PLACE},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": end, "response": {"id": "resp_1", "status": "completed", "output": [item]}},
    ]
    return [Event.of({**data, "sequence_number": number}) for number, data in enumerate(told)]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_every_event_that_tells_the_text_tells_it_in_the_callers_shape(size: int) -> None:
    reshaper, raw = StreamDecoder(RESTORER), events(WRITTEN)
    shown = [event for start in range(0, len(raw), size) for event in reshaper.feed(raw[start : start + size])]
    assert "".join(event.data["delta"] for event in shown if event.type.endswith(".delta")) == MEANT
    assert "null" not in b"".join(event.raw for event in shown).decode()
    assert aggregate([shown])["output"][0]["content"][0]["text"] == MEANT
    numbers = [event.data["sequence_number"] for event in shown]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("text", ["Paris, of course.", '{"city":"Par', ""])
def test_a_text_that_is_no_json_is_told_as_it_is(text: str) -> None:
    shown = StreamDecoder(RESTORER).feed(events(text, end="response.incomplete"))
    assert aggregate([shown])["output"][0]["content"][0]["text"] == text


def test_a_text_without_an_end_of_its_own_is_told_before_the_answers_end() -> None:
    raw = [event for event in events(WRITTEN) if event.type.endswith((".delta", "completed"))]
    delta, end = StreamDecoder(RESTORER).feed(raw)
    assert (delta.data["delta"], end.type) == (MEANT, "response.completed")


def test_a_silence_is_told_also_while_a_text_is_held() -> None:
    clock = Clock()
    deltas = [[event] for event in events(WRITTEN) if event.type.endswith(".delta")]

    class Slow(ScriptedSource):
        def read(self, patience: float) -> Any:
            clock.now += 4
            return super().read(patience)

    stream = decode_stream(EventStream(Slow([*deltas, events(WRITTEN)[-4:]]), 10.0), RESTORER, clock=clock)
    batches = list(stream)
    assert batches[0] == []
    assert json.loads(aggregate(batches)["output"][0]["content"][0]["text"]) == {"city": "Paris"}
