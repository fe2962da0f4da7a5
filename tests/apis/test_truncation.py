"""A stream cut at any byte ends with an error and the terminator, unless its terminal event had arrived."""

import json
from typing import Any

import pytest

from codexproxy.apis.base import Api
from codexproxy.apis.openai_chat import ChatApi
from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.errors import ProxyError
from codexproxy.protocol.events import Batch
from codexproxy.protocol.request import Caller
from codexproxy.protocol.stream import EventStream
from codexproxy.upstream.chatgpt.sse import Decoder

TEXT = [
    {"type": "response.created", "response": {"id": "resp_1", "model": "m", "output": []}},
    {
        "type": "response.output_item.added",
        "output_index": 0,
        "item": {"type": "message", "id": "msg_1", "content": []},
    },
    {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "naïve "},
    {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "😀 text"},
    {
        "type": "response.output_item.done",
        "output_index": 0,
        "item": {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "naïve 😀 text"}]},
    },
    {"type": "response.completed", "response": {"id": "resp_1", "model": "m", "status": "completed", "output": []}},
]
RAW = "".join(f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n" for event in TEXT).encode()
BODIES: dict[str, dict[str, Any]] = {
    "chat": {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True},
    "responses": {"model": "m", "input": "hi", "stream": True},
}
APIS: dict[str, Api] = {"chat": ChatApi(), "responses": ResponsesApi()}


class BytesSource:
    """A body that came in one read and then ended."""

    def __init__(self, raw: bytes) -> None:
        self._decoder = Decoder()
        self._raw: bytes | None = raw

    def read(self, patience: float) -> Batch | None:
        if self._raw is None:
            return None
        batch = self._decoder.feed(self._raw) + self._decoder.end()
        self._raw = None
        return batch

    def close(self) -> None:
        self._raw = None


def told(name: str, raw: bytes) -> bytes:
    """What a client of this API reads."""
    api = APIS[name]
    renderer = api.renderers(api.parse(BODIES[name], Caller()))[0]
    written = b""
    try:
        for batch in EventStream(BytesSource(raw)):
            written += renderer.render(batch)
    except ProxyError as error:
        written += renderer.fail(error)
    return written


@pytest.mark.parametrize("name", APIS)
def test_every_byte_is_a_place_where_a_stream_may_be_cut(name: str) -> None:
    arrived = len(RAW.rstrip())
    for place in range(len(RAW) + 1):
        written = told(name, RAW[:place])
        if name == "chat":
            assert written.count(b"data: [DONE]\n\n") == 1 and written.endswith(b"data: [DONE]\n\n"), place
        whole = b'"finish_reason":"stop"' if name == "chat" else b"event: response.completed\n"
        assert (whole in written) == (place >= arrived), place
        assert (b"upstream_truncated" in written) == (place < arrived), place
