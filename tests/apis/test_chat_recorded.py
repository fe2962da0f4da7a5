"""Recorded traffic through the chat format: every stream, every request body."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codexproxy.compat.history.sanitize import sanitize_history
from codexproxy.errors import ProxyError
from codexproxy.protocol.aggregate import aggregate
from codexproxy.protocol.request import Caller
from codexproxy.upstream.chatgpt.sse import Decoder
from tests.apis.chat_reading import API, Seen, assert_valid, read, renderer_of, turn_of
from tests.apis.recorded import Recording, each_recording, recordings
from tests.data import RECORDINGS

FAILED = "error_then_failed_quota"


def calls_of(expected: dict[str, Any]) -> list[tuple[str, str, str]]:
    functions = [(call["call_id"], call["name"], call["arguments"]) for call in expected["function_calls"]]
    return functions + [(call["call_id"], call["name"], call["input"]) for call in expected["custom_tool_calls"]]


def finish_of(expected: dict[str, Any]) -> str:
    if expected["status"] == "incomplete":
        return "length"
    return "tool_calls" if calls_of(expected) else "stop"


def sources_of(expected: dict[str, Any]) -> list[str]:
    return [entry["url"] for entry in expected["annotations"] if entry["type"] == "url_citation"]


def assert_seen(seen: Seen, expected: dict[str, Any]) -> None:
    assert seen.content == expected["output_text"]
    assert (seen.refusal or None) == expected["refusal"]
    assert seen.reasoning == "\n\n".join(text for texts in expected["reasoning_summaries"] for text in texts)
    assert [(call["id"], call["name"], call["written"]) for call in seen.calls.values()] == calls_of(expected)
    assert [entry["url_citation"]["url"] for entry in seen.annotations] == sources_of(expected)
    assert seen.finish == finish_of(expected)
    assert seen.terminators == 1


@each_recording()
def test_a_recorded_stream_arrives_whole(recording: Recording):
    seen = read(renderer_of(stream_options={"include_usage": True}).render(recording.events()))
    if recording.name == FAILED:
        assert seen.error is not None and seen.error["code"] == "insufficient_quota"
        assert seen.terminators == 1
        return
    assert_seen(seen, recording.expected)
    usage = recording.expected["usage"]
    assert seen.usage is not None
    assert seen.usage["prompt_tokens"] == usage["input_tokens"]
    assert seen.usage["completion_tokens"] == usage["output_tokens"]
    assert seen.usage["total_tokens"] == usage["total_tokens"]


@each_recording()
def test_a_recorded_answer_is_one_object(recording: Recording):
    turn, response = turn_of(), aggregate([recording.events()])
    if recording.name == FAILED:
        with pytest.raises(ProxyError) as failure:
            API.complete(turn, [response])
        assert failure.value.code == "insufficient_quota"
        return
    told = API.complete(turn, [response])
    assert_valid("CreateChatCompletionResponse", told)
    (choice,) = told["choices"]
    seen = read(renderer_of().render(recording.events()))
    answer = choice["message"]
    assert (answer["content"] or "", answer["refusal"] or "") == (seen.content, seen.refusal)
    assert answer.get("reasoning_content", "") == seen.reasoning
    assert answer.get("annotations", []) == seen.annotations
    assert [call["id"] for call in answer.get("tool_calls", [])] == [call["id"] for call in seen.calls.values()]
    assert choice["finish_reason"] == seen.finish


def batches(stream: bytes, size: int) -> list[Any]:
    decoder = Decoder()
    return [decoder.feed(stream[start : start + size]) for start in range(0, len(stream), size)] + [decoder.end()]


@each_recording()
def test_a_stream_that_comes_byte_by_byte_gives_the_same_bytes(recording: Recording):
    whole = renderer_of().render(recording.events())
    slow = renderer_of()
    assert b"".join(slow.render(batch) for batch in batches(recording.stream, 1)) == whole


@settings(max_examples=60)
@given(st.data())
def test_any_chunking_of_any_stream_gives_the_same_bytes(data: st.DataObject):
    recording = data.draw(st.sampled_from(recordings()), label="recording")
    cuts = data.draw(st.lists(st.integers(0, len(recording.stream)), max_size=12).map(sorted))
    decoder, sut = Decoder(), renderer_of(reasoning_compat="think")
    edges = [0, *cuts, len(recording.stream)]
    pieces = [recording.stream[start:end] for start, end in pairwise(edges)]
    written = b"".join(sut.render(decoder.feed(piece)) for piece in pieces)
    assert written + sut.render(decoder.end()) == renderer_of(reasoning_compat="think").render(recording.events())


def request_bodies() -> list[Any]:
    paths = sorted((RECORDINGS / "requests").glob("*.json"))
    return [pytest.param(json.loads(path.read_text()), id=path.stem) for path in paths]


PARTS = {"assistant": {"output_text", "refusal"}, "user": {"input_text", "input_image", "input_file"}}


@pytest.mark.parametrize("payload", request_bodies())
def test_a_recorded_request_becomes_a_turn_that_needs_no_repair(payload: dict[str, Any]):
    turn = API.parse(payload, Caller())
    assert turn.model == payload["model"]
    assert turn.stream is payload.get("stream", False)
    assert turn.count == payload.get("n", 1)
    items = turn.body["input"]
    assert sanitize_history(items) == (items, [])
    for item in items:
        if item["type"] == "message":
            allowed = PARTS.get(item["role"], PARTS["user"])
            assert item["role"] != "system"
            assert {part["type"] for part in item["content"]} <= allowed
    for tool in turn.body.get("tools", []):
        assert tool["name"] and "function" not in tool
