"""The relay keeps what passed, and its judges find what is wrong with it."""

import http.client
import json
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import say, stall_at
from tests.clients import grammar
from tests.clients.judging import flaws
from tests.clients.relay import Exchange, Relay
from tests.patience import patient
from tests.service import Service, wait_until

ASK = {"model": "gpt-5.2", "messages": [{"role": "user", "content": "hi"}]}
STREAM = {"content-type": "text/event-stream"}


def test_several_exchanges_of_one_connection_are_told_apart(relay: Relay) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=patient(20))
    for body in (ASK, {**ASK, "stream": True}, {}):
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        connection.getresponse().read()
    connection.close()
    first, second, third = relay.exchanges()
    assert [first.status, second.status, third.status] == [200, 200, 400]
    assert json.loads(first.body)["object"] == "chat.completion"
    assert second.body.endswith(b"data: [DONE]\n\n")


def test_a_client_that_leaves_leaves_the_service_too(service: Service, relay: Relay, sim: SimulatorClient) -> None:
    sim.script(stall_at(say("one ", "two "), event=5))
    sock = service.behind(relay.port).send("/v1/chat/completions", {**ASK, "stream": True})
    assert sock.recv(65536)
    wait_until(lambda: b"one " in relay.exchanges()[0].body, "the first words")
    sock.close()
    sim.wait_for(lambda counters: counters["disconnects"] == 1)
    (cut,) = relay.exchanges()
    assert b"[DONE]" not in cut.body


CHUNK: dict[str, Any] = {"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}


@pytest.mark.parametrize(
    ("path", "status", "headers", "body", "flaw"),
    [
        ("/v1/chat/completions", 200, {}, {"id": "a"}, "'choices' is a required property"),
        ("/v1/chat/completions", 200, STREAM, {**CHUNK, "object": "chunk"}, "chat.completion.chunk"),
        ("/v1/chat/completions", 200, STREAM, {"error": {"message": "m"}}, "'type' is a required property"),
        ("/v1/responses", 200, STREAM, {"type": "response.output_text.delta"}, "'delta' is a required property"),
        ("/v1/responses", 200, {}, {"object": "response"}, "'id' is a required property"),
        ("/v1/models", 200, {}, {"object": "list"}, "'data' is a required property"),
        ("/v1/responses", 400, {}, {"error": "no"}, "is not of type 'object'"),
    ],
)
def test_what_the_schemas_forbid_is_found(
    path: str, status: int, headers: dict[str, str], body: dict[str, Any], flaw: str
) -> None:
    text = json.dumps(body)
    told = f"data: {text}\n\n" if headers else text
    found = flaws(Exchange("POST", path, status, headers, told.encode()))
    assert any(flaw in one for one in found), found


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {**CHUNK, "choices": [{"index": 0, "delta": fields, "logprobs": None, "finish_reason": finish}]}


def called(arguments: str, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"arguments": arguments, **more.pop("function", {})}, **more}]}


FIRST, LAST = delta(role="assistant", content=""), delta("stop")
HEADER = called("", id="call_1", type="function", function={"name": "get_weather"})


@pytest.mark.parametrize(
    ("chunks", "flaw"),
    [
        ([FIRST, delta(**HEADER), delta(**called("{}")), LAST], None),
        ([FIRST, delta(**HEADER), delta(**called("{}", function={"name": "get_weather"})), LAST], "name comes 2 times"),
        ([FIRST, delta(**called("{}")), LAST], "begins without its id or name"),
        ([delta(content="a"), LAST], "roles"),
        ([delta(role="assistant"), LAST], "no content"),
        ([FIRST, delta(content="a")], "finish reasons []"),
        ([FIRST, LAST, LAST], "finish reasons"),
        ([FIRST, LAST, {**CHUNK, "model": "n"}], "differ in model"),
        ([FIRST, {**CHUNK, "usage": {}}, LAST], "not the last one"),
        ([FIRST, {**LAST, "usage": None}], "usage in some chunks"),
    ],
)
def test_a_stream_out_of_order_is_found(chunks: list[dict[str, Any]], flaw: str | None) -> None:
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    found = grammar.flaws(Exchange("POST", "/v1/chat/completions", 200, STREAM, body.encode()))
    assert found == [] if flaw is None else any(flaw in one for one in found), found


def test_a_sound_chunk_and_a_cut_one_are_no_flaws() -> None:
    body = f'data: {json.dumps(CHUNK)}\n\n: ping\n\ndata: {{"id": "a'.encode()
    assert flaws(Exchange("POST", "/v1/chat/completions", 200, STREAM, body)) == []
