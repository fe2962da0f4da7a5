"""Damaged streams through everything that reads them: an answer or a named failure, never a bug."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codexproxy.apis.openai_chat import ChatApi
from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.compat.truncate.truncator import StreamTruncator
from codexproxy.errors import ProxyError
from codexproxy.protocol.aggregate import ResponseAggregator
from codexproxy.protocol.events import Batch
from codexproxy.protocol.request import Caller
from codexproxy.upstream.chatgpt.chunked import Chunks
from codexproxy.upstream.chatgpt.sse import Decoder

EXAMPLES = settings(max_examples=300)

_ITEM = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": []}
_CALL = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"a":1}'}
EVENTS: list[dict[str, Any]] = [
    {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}},
    {"type": "response.output_item.added", "output_index": 0, "item": {"id": "rs_1", "type": "reasoning", "summary": []}},
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "so"},
    {"type": "response.output_item.added", "output_index": 1, "item": _ITEM},
    {"type": "response.content_part.added", "output_index": 1, "content_index": 0, "part": {"type": "output_text"}},
    {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 1, "content_index": 0, "delta": "grüße ☃"},
    {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 1, "content_index": 0, "delta": " END"},
    {"type": "response.output_text.done", "item_id": "msg_1", "output_index": 1, "content_index": 0, "text": "grüße ☃ END"},
    {"type": "response.output_item.done", "output_index": 1, "item": _ITEM},
    {"type": "response.output_item.added", "output_index": 2, "item": {**_CALL, "arguments": ""}},
    {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 2, "delta": '{"a"'},
    {"type": "response.function_call_arguments.done", "item_id": "fc_1", "output_index": 2, "arguments": '{"a":1}'},
    {"type": "response.output_item.done", "output_index": 2, "item": _CALL},
    {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": [], "usage": {
        "input_tokens": 1, "output_tokens": 2, "total_tokens": 3}}},
]  # fmt: skip
STREAM = "".join(
    f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False, separators=(',', ':'))}\n\n"
    for event in EVENTS
).encode()

# What damages are made of: line ends and the signs of JSON and SSE more often than other bytes.
_SIGNS = st.sampled_from([b"\n", b"\r", b"\n\n", b"\x00", b"\xff", b'"', b"{", b"}", b"[", b"data:", b"event: ", b"null",
                          b"1e999", b"\\ud800", b": x\n", b"\xef\xbb\xbf"])  # fmt: skip
DAMAGE = st.tuples(st.integers(0, len(STREAM)), st.integers(0, 40), _SIGNS | st.binary(max_size=8))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**20) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted({*EVENTS[5], *_CALL})), inner),
    max_leaves=6,
)


def consume(data: bytes, step: int) -> None:
    """Decodes, cuts, renders and folds; anything but a ``ProxyError`` is a bug."""
    decoder = Decoder()
    caller = Caller()
    chat, responses = ChatApi("think"), ResponsesApi()
    asked = chat.parse({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}, caller)
    passed = responses.parse({"model": "m", "input": "hi", "stream": True}, caller)
    fold, cutter = ResponseAggregator(), StreamTruncator(("END",), 50)
    readers: list[Callable[[Batch], object]] = [
        chat.renderers(asked)[0].render,
        responses.renderers(passed)[0].render,
        fold.add,
        cutter.feed,
    ]
    for start in range(0, len(data), step):
        try:
            batch = decoder.feed(data[start : start + step])
        except ProxyError:
            return
        for reader in list(readers):
            try:
                reader(batch)
            except ProxyError:
                # The stream ends for this reader; the others go on.
                readers.remove(reader)
    decoder.end()


def test_the_sound_stream_is_consumed() -> None:
    for step in (1, 50, len(STREAM)):
        consume(STREAM, step)


@EXAMPLES
@given(st.lists(DAMAGE, min_size=1, max_size=6), st.integers(1, 2_000))
def test_damaged_bytes(damages: list[tuple[int, int, bytes]], step: int) -> None:
    data = STREAM
    for at, gone, put in damages:
        data = data[:at] + put + data[at + gone :]
    consume(data, step)


@EXAMPLES
@given(st.data())
def test_fields_of_any_kind(data: st.DataObject) -> None:
    events = []
    for event in EVENTS:
        changed = dict(event)
        for _ in range(data.draw(st.integers(0, 2))):
            name = data.draw(st.sampled_from([name for name in event if name != "type"] or ["type"]))
            changed[name] = data.draw(VALUES)
        events.append(changed)
    order = data.draw(st.permutations(events)) if data.draw(st.booleans()) else events
    lines = [f"event: {event.get('type')}\ndata: {json.dumps(event)}\n\n" for event in order]
    consume("".join(lines).encode(), 400)


@EXAMPLES
@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_as_chunks_and_events(data: bytes, step: int) -> None:
    chunks = Chunks()
    body = b"".join(chunks.feed(data[start : start + step]) for start in range(0, len(data), step))
    consume(body or data, step)


@pytest.mark.parametrize("number", range(len(EVENTS)))
def test_each_event_alone_and_twice(number: int) -> None:
    block = STREAM.split(b"\n\n")[number] + b"\n\n"
    consume(block, len(block))
    consume(block * 2 + STREAM, 100)
