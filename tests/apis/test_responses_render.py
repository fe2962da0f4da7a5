"""Upstream frames on their way to a Responses client."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codexproxy.apis.base import Renderer
from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.errors import RateLimited, UpstreamFailed
from codexproxy.protocol.aggregate import aggregate
from codexproxy.protocol.events import Event
from codexproxy.protocol.request import Caller
from codexproxy.upstream.chatgpt.sse import Decoder
from tests.apis.recorded import Recording, decoded, each_recording, recordings

CREATED = {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "model": "gpt-5.2"}}
DELTA = {"type": "response.output_text.delta", "sequence_number": 1, "delta": "hi"}
COMPLETED = {
    "type": "response.completed",
    "sequence_number": 2,
    "response": {"id": "resp_1", "model": "gpt-5.2", "status": "completed", "output": []},
}

ITEM = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
ITEM_DONE = {"type": "response.output_item.done", "output_index": 0, "item": ITEM}


def renderer(client: str = "unknown", **payload: Any) -> Renderer:
    api = ResponsesApi()
    turn = api.parse({"model": "gpt-5.2", "input": "hi", "stream": True, **payload}, Caller(client=client))
    (renderer,) = api.renderers(turn)
    return renderer


def events(*payloads: dict[str, Any]) -> list[Event]:
    return [Event.of(payload) for payload in payloads]


def payloads(stream: bytes) -> list[dict[str, Any]]:
    return [event.data for event in decoded(stream)]


@each_recording()
def test_a_recorded_stream_passes_byte_for_byte(recording: Recording):
    sut = renderer(**recording.asked)
    assert sut.render(recording.events()) == recording.stream


@each_recording()
def test_under_another_name_only_the_model_of_a_recorded_stream_changes(recording: Recording):
    seen = payloads(renderer(**{**recording.asked, "model": "my-model"}).render(recording.events()))
    for ours, theirs in zip(seen, recording.events(), strict=True):
        expected = json.loads(json.dumps(theirs.data))
        if "model" in expected.get("response", {}):
            expected["response"]["model"] = "my-model"
        assert ours == expected


@settings(max_examples=60)
@given(data=st.data())
def test_chunking_changes_nothing(data: st.DataObject):
    found = recordings()
    recording = data.draw(st.sampled_from(found))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(recording.stream)), max_size=12)))
    sut, decoder = renderer(**recording.asked), Decoder()
    written = b""
    for start, end in zip([0, *cuts], [*cuts, len(recording.stream)], strict=True):
        written += sut.render(decoder.feed(recording.stream[start:end]))
    assert written + sut.render(decoder.end()) == recording.stream


@each_recording()
def test_byte_by_byte_is_the_same_as_at_once(recording: Recording):
    sut, decoder = renderer(**recording.asked), Decoder()
    written = [sut.render(decoder.feed(recording.stream[at : at + 1])) for at in range(len(recording.stream))]
    assert b"".join(written) + sut.render(decoder.end()) == recording.stream


def test_odd_frames_pass_as_they_are():
    odd = [
        b'data: {"type":"response.output_text.delta"}\n\n',
        b'event: x\r\ndata: {"type":"keepalive",\r\ndata: "a":1}\r\n\r\n',
        b'id: 7\nevent: response.created\ndata: {"type":"response.created","response":null}\n\n',
    ]
    assert renderer().render(decoded(b"".join(odd))) == b"".join(odd)


def test_fields_the_caller_set_are_echoed_where_upstream_says_otherwise():
    created = {**CREATED, "response": {**CREATED["response"], "store": False, "previous_response_id": None}}
    sut = renderer(store=True, previous_response_id="resp_0", metadata={"a": "b"})
    (seen,) = payloads(sut.render(events(created)))
    assert seen["response"] == {
        "id": "resp_1",
        "model": "gpt-5.2",
        "store": True,
        "previous_response_id": "resp_0",
    }


@pytest.mark.parametrize(
    ("status", "type"),
    [
        ("completed", "response.completed"),
        (None, "response.completed"),
        ("incomplete", "response.incomplete"),
        ("failed", "response.failed"),
    ],
)
def test_response_done_becomes_the_event_that_clients_wait_for(status: str | None, type: str):
    done = {"type": "response.done", "response": {"id": "resp_1", "status": status, "output": [ITEM]}}
    (event,) = decoded(renderer().render(events(done)))
    assert (event.type, event.data["type"], event.data["response"]["id"]) == (type, type, "resp_1")


def test_a_final_object_without_an_id_gets_the_one_that_was_announced():
    final = {"type": "response.completed", "response": {"status": "completed"}}
    seen = payloads(renderer().render(events(CREATED, DELTA, final)))
    assert seen[-1]["response"]["id"] == "resp_1"


def test_an_id_that_was_told_before_upstream_had_one_stays():
    api = ResponsesApi()
    turn = api.parse({"model": "gpt-5.2", "input": "hi", "background": True}, Caller())
    (sut,) = api.renderers(replace(turn, storage=replace(turn.storage, response_id="resp_ours")))
    final = {"type": "response.completed", "response": {"status": "completed"}}
    seen = payloads(sut.render(events(CREATED, DELTA, COMPLETED, final)))
    assert [event["response"]["id"] for event in seen if "response" in event] == ["resp_ours"] * 3


def test_clients_that_read_the_final_object_get_its_output_filled():
    sut = renderer(client="openai-sdk")
    seen = payloads(sut.render(events(CREATED, ITEM_DONE)) + sut.render(events(COMPLETED)))
    assert seen[-1]["response"]["output"] == [ITEM]


def test_an_item_that_never_finished_is_filled_from_its_parts():
    added = {"type": "response.output_item.added", "output_index": 0, "item": {**ITEM, "content": []}}
    part = {"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": ITEM["content"][0]}
    seen = payloads(renderer(client="openai-sdk").render(events(CREATED, added, part, COMPLETED)))
    assert seen[-1]["response"]["output"] == [ITEM]


ASIDE = [{"type": "codex.rate_limits"}, {"type": "keepalive", "sequence_number": 0}, {"type": "response.metadata"}]


def test_for_openais_libraries_nothing_comes_before_the_beginning():
    sut = renderer(client="openai-sdk")
    assert sut.render(events(*ASIDE)) == b""
    seen = payloads(sut.render(events(*ASIDE, CREATED, *ASIDE, ITEM_DONE)))
    assert [event["type"] for event in seen][:2] == ["response.created", "codex.rate_limits"]
    others = renderer(client="codex-cli")
    assert others.render(events(*ASIDE, CREATED)) == b"".join(event.raw for event in events(*ASIDE, CREATED))


def test_the_credits_of_the_account_are_for_its_owner_only():
    limits = {"type": "codex.rate_limits", "plan_type": "plus", "rate_limits": {}, "credits": {"balance": "77"}}
    windows = {name: value for name, value in limits.items() if name != "credits"}
    for is_owner, told in ((True, limits), (False, windows)):
        caller = Caller(client="codex-cli", is_owner=is_owner)
        api = ResponsesApi()
        turn = api.parse({"model": "gpt-5.2", "input": "hi", "stream": True}, caller)
        (sut,) = api.renderers(turn)
        assert payloads(sut.render(events(CREATED, limits)))[1] == told


@pytest.mark.parametrize(
    "first", [{"type": "response.in_progress", "response": {"id": "resp_1"}}, ITEM_DONE, COMPLETED]
)
def test_for_openais_libraries_a_beginning_that_was_not_sent_is_made_up(first: dict[str, Any]):
    begun, second, *_, last = payloads(renderer(client="openai-sdk").render(events(first, ITEM_DONE, COMPLETED)))
    assert begun["response"]["id"] == last["response"]["id"]
    assert (begun["type"], second["type"]) == ("response.created", first["type"])
    response = begun["response"]
    assert (response["status"], response["output"], response["model"]) == ("in_progress", [], "gpt-5.2")
    assert response["id"].startswith("resp_")
    if "response" in first:
        assert response["id"] == "resp_1"


def test_a_bare_error_needs_no_beginning():
    bare = {"type": "error", "error": {"code": "server_error", "message": "It broke."}}
    assert renderer(client="openai-sdk").render(events(bare)) == Event.of(bare).raw


@each_recording()
def test_for_clients_that_read_the_final_object_it_says_what_was_streamed(recording: Recording):
    sut = renderer(client="openai-sdk", **recording.asked)
    seen = decoded(sut.render(recording.events()))
    assert [event.type for event in seen] == [event.type for event in recording.events()]
    if recording.expected["terminal_event"] == "response.completed":
        assert seen[-1].data["response"]["output"] == aggregate([recording.events()])["output"]


def test_a_failure_of_ours_is_an_error_event_then_response_failed():
    sut = renderer()
    sut.render(events(CREATED, DELTA))
    error, failed = payloads(sut.fail(UpstreamFailed("It broke. Please try again.", code="upstream_truncated")))
    assert error["type"] == "error" and error["sequence_number"] == 2
    assert error["code"] == error["error"]["code"] == "upstream_truncated"
    assert failed["type"] == "response.failed" and failed["sequence_number"] == 3
    assert failed["response"]["id"] == "resp_1" and failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": "upstream_truncated", "message": "It broke. Please try again."}


def test_a_failure_before_the_first_frame_is_complete_as_well():
    error, failed = payloads(renderer().fail(RateLimited("Slow down.", extra={"resets_at": 5})))
    assert (error["sequence_number"], failed["sequence_number"]) == (0, 1)
    assert error["error"]["resets_at"] == 5
    assert failed["response"]["id"].startswith("resp_") and failed["response"]["model"] == "gpt-5.2"


def test_a_bare_error_of_upstreams_is_completed_in_its_own_words():
    bare = {"type": "error", "sequence_number": 4, "error": {"code": "server_is_overloaded", "message": "Busy."}}
    sut = renderer()
    assert sut.render(events(bare)) == Event.of(bare).raw
    (failed,) = payloads(sut.fail(UpstreamFailed("Busy.", code="overloaded")))
    assert failed["response"]["error"] == {"code": "server_is_overloaded", "message": "Busy."}
    assert failed["sequence_number"] == 5


@pytest.mark.parametrize(
    ("details", "code"),
    [
        ({"code": 429, "type": "rate_limit_error"}, "rate_limit_error"),
        ({"code": 500}, "upstream_unavailable"),
        ({"code": None, "type": {}}, "upstream_unavailable"),
    ],
)
@pytest.mark.parametrize("nested", [True, False])
def test_a_code_is_a_string_whatever_upstream_has_there(details: dict[str, Any], code: str, nested: bool):
    told = {"message": ["no", "text"], **details}
    bare = {"type": "error", "error": told} if nested else {**told, "type": "error"}
    sut = renderer()
    sut.render(events(bare))
    (failed,) = payloads(sut.fail(UpstreamFailed("It broke.")))
    expected = code if nested else "upstream_unavailable"
    assert failed["response"]["error"] == {"code": expected, "message": "It broke."}


def test_a_stream_that_ended_does_not_end_again():
    sut = renderer()
    sut.render(events(CREATED, DELTA, COMPLETED))
    assert sut.fail(UpstreamFailed("late")) == b""


QUIET = {"type": "response.output_item.done", "output_index": 0, "item": {**ITEM, "content": []}}


@pytest.mark.parametrize("client", ["unknown", "openai-sdk"])
@pytest.mark.parametrize("before", [[], [QUIET]])
def test_a_completed_answer_that_holds_nothing_is_a_failure(client: str, before: list[dict[str, Any]]):
    sut = renderer(client=client)
    sut.render(events(CREATED, *before))
    with pytest.raises(UpstreamFailed) as failure:
        sut.render(events(COMPLETED))
    error, failed = payloads(sut.fail(failure.value))
    assert (error["code"], failed["type"]) == ("empty_response", "response.failed")
    assert failed["response"]["error"]["code"] == "empty_response"


@pytest.mark.parametrize(
    "told",
    [
        DELTA,
        ITEM_DONE,
        {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "hi"},
        {"type": "response.output_item.done", "item": {"type": "tool_search_call", "call_id": "c", "arguments": {}}},
        {"type": "response.output_item.done", "item": {"type": "function_call", "call_id": "c", "name": "f"}},
        {"type": "response.output_item.added", "item": {"type": "mcp_approval_request", "id": "a"}},
    ],
    ids=lambda told: told.get("item", told)["type"],
)
def test_a_completed_answer_that_said_anything_passes_as_it_came(told: dict[str, Any]):
    batch = events(CREATED, told, COMPLETED)
    sut = renderer()
    assert b"".join(sut.render([event]) for event in batch) == b"".join(event.raw for event in batch)


def test_failing_twice_says_it_once():
    sut = renderer()
    assert sut.fail(UpstreamFailed("broken"))
    assert sut.fail(UpstreamFailed("broken")) == b""


def test_sequence_numbers_are_counted_where_upstream_has_none():
    sut = renderer()
    sut.render([Event("x", b"data: {}\n\n", b"{}"), Event("y", b"data: rubbish\n\n", b"rubbish")])
    error, failed = payloads(sut.fail(UpstreamFailed("broken")))
    assert (error["sequence_number"], failed["sequence_number"]) == (2, 3)


def test_a_response_frame_that_is_no_json_is_a_failure_of_upstreams():
    with pytest.raises(UpstreamFailed):
        renderer().render([Event("response.created", b"event: response.created\ndata: {\n\n", b"{")])


def test_silence_writes_nothing():
    assert renderer().render([]) == b""
