"""Recorded streams of the real backend, replayed over HTTP."""

import json
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.data import RECORDINGS
from tests.service import Answer, Service

NAMES = sorted(path.stem for path in (RECORDINGS / "responses_sse").glob("*.sse"))
FAILED = "error_then_failed_quota"
CHAT = {"messages": [{"role": "user", "content": "hi"}]}
RESPONSES = {"input": "hi"}


def chat_message(answer: Answer) -> dict[str, Any]:
    """A streamed chat answer as the message a client puts together from it."""
    message: dict[str, Any] = {"content": "", "refusal": "", "calls": {}, "finish": None}
    *lines, done = [line[6:] for line in answer.body.decode().split("\n\n") if line.startswith("data: ")]
    assert done == "[DONE]"
    for chunk in map(json.loads, lines):
        for choice in chunk["choices"]:
            delta = choice["delta"]
            message["content"] += delta.get("content") or ""
            message["refusal"] += delta.get("refusal") or ""
            message["finish"] = choice["finish_reason"] or message["finish"]
            for call in delta.get("tool_calls") or []:
                kept = message["calls"].setdefault(call["index"], {"name": "", "arguments": ""})
                spoken = call.get("function") or call.get("custom") or {}
                kept["name"] += spoken.get("name") or ""
                kept["arguments"] += spoken.get("arguments") or spoken.get("input") or ""
        message["usage"] = chunk.get("usage")
    return message


@pytest.fixture(params=NAMES)
def expected(request: pytest.FixtureRequest, sim: SimulatorClient) -> dict[str, Any]:
    """What a client must end up with; the simulator replays the stream to all who ask."""
    folder = RECORDINGS / "responses_sse"
    sim.rules(model_supported=False)
    sim.script({"raw_file": str(folder / f"{request.param}.sse"), "chunking": 97}, repeat=-1)
    wanted: dict[str, Any] = json.loads((folder / f"{request.param}.expected.json").read_text())
    wanted["raw"] = (folder / f"{request.param}.sse").read_bytes()
    return wanted


def calls_of(expected: dict[str, Any]) -> list[tuple[str, str]]:
    return [(call["name"], call["arguments"]) for call in expected["function_calls"]]


def test_chat_gives_the_same_text_calls_and_usage(service: Service, expected: dict[str, Any]) -> None:
    asked = {**CHAT, "model": "gpt-5.2"}
    whole = service.post("/v1/chat/completions", asked)
    streamed = service.post(
        "/v1/chat/completions", {**asked, "stream": True, "stream_options": {"include_usage": True}}
    )
    if expected["name"] == FAILED:
        assert (whole.status, streamed.status) == (429, 429)
        return
    if (
        not expected["output_text"]
        and not expected["refusal"]
        and not calls_of(expected)
        and not expected["custom_tool_calls"]
    ):
        assert whole.status in (200, 502)
        return
    told = chat_message(streamed)
    message = whole.json["choices"][0]["message"]
    assert told["content"] == (message["content"] or "") == expected["output_text"]
    assert told["refusal"] == (message.get("refusal") or "") == (expected["refusal"] or "")
    functions = [(call["name"], call["arguments"]) for call in told["calls"].values()]
    custom = [(call["name"], call["input"]) for call in expected["custom_tool_calls"]]
    assert sorted(functions) == sorted(calls_of(expected) + custom)
    finish = whole.json["choices"][0]["finish_reason"]
    assert told["finish"] == finish
    assert finish == ("tool_calls" if functions else "length" if expected["incomplete_reason"] else "stop")
    usage = whole.json["usage"]
    assert usage["total_tokens"] == expected["usage"]["total_tokens"] == told["usage"]["total_tokens"]


def test_responses_passes_the_frames_and_folds_the_same_object(service: Service, expected: dict[str, Any]) -> None:
    asked = {**RESPONSES, "model": expected["model"]}
    streamed = service.post("/v1/responses", {**asked, "stream": True})
    assert streamed.body == expected["raw"] or same_frames(streamed.body, expected["raw"])
    whole = service.post("/v1/responses", asked)
    if expected["name"] == FAILED:
        assert whole.status == 429
        return
    response = whole.json
    assert [item["type"] for item in response["output"]] == expected["output_item_types"]
    texts = [
        part["text"]
        for item in response["output"]
        for part in item.get("content") or []
        if part.get("type") == "output_text"
    ]
    assert "".join(texts) == expected["output_text"]
    assert response["status"] == expected["status"]


def same_frames(told: bytes, raw: bytes) -> bool:
    """Whether the frames are the same but for what the proxy says of itself in the Response objects."""
    ours, theirs = told.split(b"\n\n"), raw.split(b"\n\n")
    if len(ours) != len(theirs):
        return False
    return all(mine == other or b'"response":{' in other for mine, other in zip(ours, theirs, strict=True))


def test_another_name_is_echoed_in_every_response_object(service: Service, sim: SimulatorClient) -> None:
    sim.script({"raw_file": str(RECORDINGS / "responses_sse/codex_text_gpt55.sse")})
    body = service.post("/v1/responses", {**RESPONSES, "model": "gpt-5.2-high", "stream": True}).body
    events = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: ")]
    assert {event["response"]["model"] for event in events if "response" in event} == {"gpt-5.2-high"}
