"""What the official SDK makes of our streams and objects, over a loopback connection."""

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest

from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.errors import UpstreamFailed
from codexproxy.protocol.events import Batch, Event, encode_json
from codexproxy.protocol.request import Caller
from tests.apis.recorded import Recording, each_recording, recordings
from tests.fakes.serving import serving


class Canned(BaseHTTPRequestHandler):
    """Answers every request with the bytes its server holds."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", self.server.content_type)  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(self.server.answer)  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


Sdk = Callable[..., openai.OpenAI]


@pytest.fixture
def sdk() -> Iterator[Sdk]:
    """Makes a client whose every request is answered with given bytes."""

    def make(answer: bytes, content_type: str = "text/event-stream") -> openai.OpenAI:
        server.answer, server.content_type = answer, content_type  # type: ignore[attr-defined]
        return openai.OpenAI(api_key="x", base_url=f"http://127.0.0.1:{server.server_port}/v1", max_retries=0)

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Canned)) as server:
        yield make


def rendered(batch: Batch, failure: UpstreamFailed | None = None) -> bytes:
    api = ResponsesApi()
    turn = api.parse({"model": "my-model", "input": "hi", "stream": True}, Caller(client="openai-sdk"))
    (renderer,) = api.renderers(turn)
    return renderer.render(batch) + (renderer.fail(failure) if failure else b"")


@each_recording()
def test_a_recorded_answer_arrives_whole(recording: Recording, sdk: Sdk) -> None:
    stream = sdk(rendered(recording.events())).responses.create(model="my-model", input="hi", stream=True)
    if recording.expected["error_events"]:
        with pytest.raises(openai.APIError) as caught:
            list(stream)
        assert caught.value.code == recording.expected["error"]["code"]
        return
    final = next(event.response for event in stream if event.type == recording.expected["terminal_event"])
    assert final.model == "my-model"
    assert final.output_text == recording.expected["output_text"]
    assert [item.type for item in final.output] == recording.expected["output_item_types"]


@pytest.mark.parametrize("seen", [0, 1, 4])
def test_a_failure_of_ours_is_raised_with_its_code(seen: int, sdk: Sdk) -> None:
    found = [recording for recording in recordings() if recording.name == "text_gpt4o"]
    failure = UpstreamFailed("It stopped. Please try again.", code="upstream_truncated")
    stream = sdk(rendered(found[0].events()[:seen], failure)).responses.create(model="m", input="hi", stream=True)
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert (caught.value.code, caught.value.message) == ("upstream_truncated", "It stopped. Please try again.")


def test_the_stream_helper_finds_the_final_object(sdk: Sdk) -> None:
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    part = {"type": "output_text", "text": "hello", "annotations": []}
    payloads: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": "resp_1", "object": "response", "model": "m", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.output_item.done", "output_index": 0, "item": {**item, "content": [part]}},
        {"type": "response.completed", "response": {"id": "resp_1", "object": "response", "model": "m", "output": []}},
    ]
    events = [Event.of({"sequence_number": number, **payload}) for number, payload in enumerate(payloads)]
    with sdk(rendered(events)).responses.stream(model="m", input="hi") as stream:
        assert stream.get_final_response().output_text == "hello"


def test_the_smallest_answer_is_a_response_to_the_sdk(sdk: Sdk) -> None:
    api = ResponsesApi()
    turn = api.parse({"model": "my-model", "input": "hi"}, Caller())
    body = api.complete(
        turn, [{"id": "resp_1", "output": [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}]}]
    )
    response = sdk(encode_json(body), "application/json").responses.create(model="my-model", input="hi")
    assert (response.output_text, response.model, response.status) == ("hi", "my-model", "completed")
