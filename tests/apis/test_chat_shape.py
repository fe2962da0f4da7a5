"""JSON schemas: what is sent, how the answer goes back, and what is done when it does not fit."""

import json
from typing import Any

import pytest

from codexproxy.errors import InvalidRequest, UpstreamFailed
from codexproxy.protocol.aggregate import aggregate
from codexproxy.protocol.events import Batch
from tests.apis.chat_reading import (
    API,
    completed,
    done,
    ended,
    events,
    function_call,
    message,
    read,
    renderer_of,
    streamed,
    text_delta,
    turn_of,
)

CLOSED = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
OPEN = {"type": "object", "properties": {"name": {"type": "string"}, "nick": {"type": "string"}}, "required": ["name"]}


def format_of(schema: dict[str, Any], strict: bool = True) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "person", "strict": strict, "schema": schema}}


def answered(text: str, *, halves: bool = True) -> Batch:
    middle = len(text) // 2
    deltas = [text_delta(text[:middle]), text_delta(text[middle:])] if halves else [text_delta(text)]
    return events(*deltas, done(message(text)), ended())


def test_a_schema_that_fits_is_sent_as_it_is_and_its_answer_streams_as_it_comes():
    turn = turn_of(response_format=format_of(CLOSED))
    assert turn.body["text"]["format"]["schema"] == CLOSED
    assert turn.adapted == ()
    text = '{"name": "Ann", "age": 31}'
    seen = streamed(answered(text), response_format=format_of(CLOSED))
    assert (seen.content, seen.finish) == (text, "stop")
    assert len(seen.chunks) == 4


def test_a_schema_that_does_not_fit_is_fitted_and_the_answer_goes_back():
    turn = turn_of(response_format=format_of(OPEN))
    sent = turn.body["text"]["format"]["schema"]
    assert sent["additionalProperties"] is False and set(sent["required"]) == {"name", "nick"}
    assert turn.adapted == ("response_format:schema_fitted",)
    for batch in (answered('{"name": "Ann", "nick": null}'), answered('{"name": "Ann", "nick": null}', halves=False)):
        assert json.loads(streamed(batch, response_format=format_of(OPEN)).content) == {"name": "Ann"}
        told = completed(batch, response_format=format_of(OPEN))
        assert json.loads(told["choices"][0]["message"]["content"]) == {"name": "Ann"}


def test_a_list_at_the_root_is_wrapped_and_unwrapped_also_when_not_strict():
    schema = {"type": "array", "items": {"type": "integer"}}
    for strict in (True, False):
        sent = turn_of(response_format=format_of(schema, strict)).body["text"]["format"]["schema"]
        assert sent["type"] == "object"
        assert streamed(answered('{"value":[1,2]}'), response_format=format_of(schema, strict)).content == "[1,2]"


def test_a_strict_answer_outside_its_schema_is_a_failure():
    batch = answered('{"name": "Ann", "age": "old"}')
    seen = streamed(batch, response_format=format_of(CLOSED))
    assert seen.error is not None and seen.error["code"] == "invalid_structured_output"
    assert "$.age" in seen.error["message"]
    assert (seen.finish, seen.terminators) == (None, 1)
    with pytest.raises(UpstreamFailed) as failure:
        completed(batch, response_format=format_of(CLOSED))
    assert failure.value.code == "invalid_structured_output"
    assert not failure.value.retryable


def test_an_answer_outside_a_schema_that_was_not_strict_is_delivered():
    batch = answered("not even JSON")
    seen = streamed(batch, response_format=format_of(CLOSED, strict=False))
    assert (seen.content, seen.finish, seen.error) == ("not even JSON", "stop", None)
    told = completed(batch, response_format=format_of(CLOSED, strict=False))
    assert told["choices"][0]["message"]["content"] == "not even JSON"


@pytest.mark.parametrize("schema", [CLOSED, OPEN])
def test_an_answer_that_was_cut_is_delivered_as_it_is(schema: dict[str, Any]):
    batch = events(text_delta('{"name": "A'), ended("response.incomplete"))
    seen = streamed(batch, response_format=format_of(schema))
    assert (seen.content, seen.finish) == ('{"name": "A', "length")
    told = completed(batch, response_format=format_of(schema))["choices"][0]
    assert (told["message"]["content"], told["finish_reason"]) == ('{"name": "A', "length")


def test_calls_and_refusals_are_no_answers_to_validate():
    call = events(done(function_call("look", "{}")), ended())
    assert streamed(call, response_format=format_of(CLOSED)).finish == "tool_calls"
    place = {"output_index": 0, "content_index": 0}
    refused = events({"type": "response.refusal.delta", "delta": "No.", **place}, ended())
    assert streamed(refused, response_format=format_of(CLOSED)).refusal == "No."
    assert completed(refused, response_format=format_of(CLOSED))["choices"][0]["message"]["refusal"] == "No."


def test_a_second_try_holds_the_answer_and_what_is_wrong_with_it():
    turn = turn_of(response_format=format_of(OPEN))
    wrong = aggregate([answered('{"nick": null}')])
    body = API.repair_request(turn, wrong)
    assert body is not None
    *before, said, asked = body["input"]
    assert before == turn.body["input"]
    assert said["content"] == [{"type": "output_text", "text": '{"nick": null}'}]
    assert "name" in asked["content"][0]["text"]
    assert API.repair_request(turn, aggregate([answered('{"name": "Ann", "nick": null}')])) is None
    assert API.repair_request(turn_of(), aggregate([answered("hi")])) is None


def test_a_reference_that_leads_nowhere_is_refused_with_its_place():
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/missing"}}}
    with pytest.raises(InvalidRequest) as refusal:
        turn_of(response_format=format_of(schema))
    assert refusal.value.param == "response_format.json_schema.schema.$ref"


def test_references_that_leave_the_schema_are_never_followed():
    schema = {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/x.json"}}}
    with pytest.raises(InvalidRequest):
        turn_of(response_format=format_of(schema))
    seen = streamed(answered('{"a": 1}'), response_format=format_of(schema, strict=False))
    assert seen.content == '{"a": 1}'


def test_a_pattern_that_takes_for_ever_is_not_run():
    schema = {**CLOSED, "properties": {**CLOSED["properties"], "name": {"type": "string", "pattern": "(a+)+$"}}}
    text = json.dumps({"name": "a" * 60 + "!", "age": 1})
    assert streamed(answered(text), response_format=format_of(schema)).finish == "stop"


def test_several_shaped_answers_share_one_stream():
    turn = turn_of(n=2, stream=True, response_format=format_of(OPEN))
    written = b"".join(
        renderer.render(answered(json.dumps({"name": name, "nick": None})))
        for renderer, name in zip(API.renderers(turn), "ab", strict=True)
    )
    assert [json.loads(read(written, index).content)["name"] for index in (0, 1)] == ["a", "b"]


def test_an_empty_answer_is_a_failure_here_as_well():
    with pytest.raises(UpstreamFailed):
        renderer_of(response_format=format_of(OPEN)).render(events(ended(usage=None)))
