"""Without a script the simulated model holds a sensible conversation, also with the official SDK."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openai import OpenAI

from codexproxy.simulator.improvise import improvise
from codexproxy.simulator.instances import instance_of
from tests.simulator.talk import TURN, Talker

Json = dict[str, Any]

WEATHER: Json = {
    "type": "function",
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
        "required": ["city", "days"],
    },
}
PATCH: Json = {"type": "custom", "name": "apply_patch"}


def said(text: str, **body: Any) -> list[Json]:
    items: list[Json] = improvise({"input": [{"role": "user", "content": text}], **body})["items"]
    return items


def test_a_plain_question_is_echoed_in_several_deltas(talker: Talker) -> None:
    answer = talker.turn(input=[{"role": "user", "content": "How are you?"}])

    assert "“How are you?”" in answer.text
    assert answer.types.count("response.output_text.delta") > 5


def test_pictures_are_counted() -> None:
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
    parts = [{"type": "input_text", "text": "look"}, picture, picture]

    (message,) = improvise({"input": [{"role": "user", "content": parts}]})["items"]

    assert "2 pictures" in message["text"]


def test_a_directive_calls_a_tool_with_its_arguments() -> None:
    (call,) = said('please\ncall:weather {"city": "Oslo"}', tools=[WEATHER])

    assert (call["type"], call["name"], json.loads(call["arguments"])) == ("function_call", "weather", {"city": "Oslo"})


def test_a_directive_without_arguments_gets_fitting_ones() -> None:
    (call,) = said("call:weather", tools=[WEATHER])

    Draft202012Validator(WEATHER["parameters"]).validate(json.loads(call["arguments"]))


def test_several_directives_are_parallel_calls_unless_those_are_forbidden() -> None:
    text = "call:weather\ncall:apply_patch *** Begin"

    assert [call["name"] for call in said(text, tools=[WEATHER, PATCH])] == ["weather", "apply_patch"]
    assert len(said(text, tools=[WEATHER, PATCH], parallel_tool_calls=False)) == 1
    assert said(text, tools=[WEATHER, PATCH])[1]["input"] == "*** Begin"


def test_tools_inside_additional_tools_and_namespaces_can_be_called() -> None:
    space = {"type": "namespace", "name": "functions", "tools": [WEATHER]}
    items = [{"type": "additional_tools", "tools": [space]}, {"role": "user", "content": "call:weather"}]

    assert improvise({"input": items})["items"][0]["name"] == "weather"


def test_a_directive_for_a_tool_that_is_not_offered_calls_nothing() -> None:
    assert said("call:weather", tools=[PATCH])[0]["type"] == "message"
    assert said("call:weather", tools=[WEATHER], tool_choice="none")[0]["type"] == "message"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "weather"}], ids=str)
def test_a_forced_choice_is_obeyed(choice: Any) -> None:
    assert said("hello", tools=[WEATHER, PATCH], tool_choice=choice)[0]["name"] == "weather"


def test_a_tool_output_is_quoted() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "rain"}]}
    items = [{"role": "user", "content": "call:weather"}, call, output]

    assert improvise({"input": items, "tools": [WEATHER]})["items"][0]["text"] == "The tool answered: rain"


def test_reasoning_comes_first_and_is_summarised_when_asked() -> None:
    assert said("hi", reasoning={"effort": "none"})[0]["type"] == "message"
    assert said("hi", reasoning={"effort": "low"})[0] == {"type": "reasoning", "summary": []}
    assert said("hi", reasoning={"effort": "low", "summary": "auto"})[0]["summary"]


def test_the_model_repeats_or_refuses_on_command() -> None:
    assert said("say: exactly this ")[0] == {"type": "message", "text": "exactly this "}
    assert said("refuse:no")[0] == {"type": "refusal", "text": "no"}


def test_a_search_is_made_when_a_search_tool_is_there() -> None:
    search, message = said("search for cats", tools=[{"type": "web_search"}])

    assert search["type"] == "web_search_call"
    (citation,) = message["annotations"]
    assert message["text"][citation["start_index"] : citation["end_index"]] == "(example.com)"


def test_nothing_at_all_is_answered_too() -> None:
    assert improvise({"input": []})["items"][0]["type"] == "message"
    assert improvise({})["items"][0]["type"] == "message"


SCHEMAS: list[Json] = [
    {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "number"}}, "required": ["a", "b"]},
    {"type": "array", "items": {"type": "integer", "minimum": 5, "maximum": 6}, "minItems": 2},
    {"enum": ["x", "y"]},
    {"const": 3},
    {"type": ["string", "null"], "minLength": 12},
    {"type": "string", "maxLength": 3},
    {"anyOf": [{"type": "null"}, {"type": "string"}]},
    {"type": "integer", "exclusiveMinimum": 4, "multipleOf": 5},
    {"type": "number", "maximum": -3},
    {"allOf": [{"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}]},
    {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"x": {"type": "null"}}, "required": ["x"]}}},
    {
        "type": "object",
        "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["value", "next"],
    },
    {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["children"],
    },
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_instances_satisfy_their_schema(schema: Json) -> None:
    Draft202012Validator(schema).validate(instance_of(schema))


def test_structured_output_is_answered_with_json_that_fits(talker: Talker) -> None:
    schema = {**SCHEMAS[0], "additionalProperties": False}
    format = {"type": "json_schema", "name": "r", "strict": True, "schema": schema}

    answer = talker.turn(text={"format": format})

    Draft202012Validator(schema).validate(json.loads(answer.text))
    objects = talker.turn(text={"format": {"type": "json_object"}}, input=[{"role": "user", "content": "JSON please"}])
    assert isinstance(json.loads(objects.text), dict)


def test_the_official_sdk_holds_a_conversation_with_tools(talker: Talker) -> None:
    headers = {"chatgpt-account-id": talker.tokens["account_id"]}
    client = OpenAI(
        base_url=f"{talker.sim.backend_url}/codex", api_key=talker.tokens["access_token"], default_headers=headers
    )
    common: Json = {key: TURN[key] for key in ("model", "instructions", "store")}
    history: list[Any] = [{"role": "user", "content": 'call:weather {"city": "Oslo", "days": 2}'}]
    tools: Any = [WEATHER]

    def turn() -> list[Any]:
        with client.responses.create(input=history, tools=tools, stream=True, **common) as stream:
            return [event.item for event in stream if event.type == "response.output_item.done"]

    (call,) = turn()
    assert (call.type, json.loads(call.arguments)) == ("function_call", {"city": "Oslo", "days": 2})
    history += [call.model_dump(exclude_none=True)]
    history += [{"type": "function_call_output", "call_id": call.call_id, "output": "snow"}]
    (message,) = turn()
    assert message.content[0].text == "The tool answered: snow"
    client.close()


_KEYWORDS = st.sampled_from(
    "type properties required items enum allOf anyOf oneOf $ref const format minItems minimum maximum "
    "exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength".split()
)
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["object", "array", "number", "#", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYWORDS, inner, max_size=4),
    max_leaves=12,
)


@given(_ANYTHING, _ANYTHING)
def test_a_schema_that_makes_no_sense_is_answered_all_the_same(schema: Any, other: Any) -> None:
    tool = {"type": "function", "name": "f", "parameters": schema}
    format = {"format": {"type": "json_schema", "schema": schema}}
    body = {"tools": [tool, other], "tool_choice": other, "text": format}
    assert improvise({"input": [{"role": "user", "content": "call:f"}], **body})["items"]
