"""Every field of the platform's request has one fate, and the code keeps to the table."""

import json
from typing import Any

import pytest

from codexproxy.apis.openai_chat.fields import EMULATED, FIELDS, IGNORED, MAPPED, REFUSED, Field
from codexproxy.errors import InvalidRequest
from codexproxy.protocol.request import Caller, Turn
from tests.apis.chat_reading import API, HELLO, turn_of
from tests.data import SCHEMAS

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}

# Field -> a value that asks for something, and further fields it needs.
ASKING: dict[str, tuple[Any, dict[str, Any]]] = {
    "model": ("gpt-5.2", {}),
    "messages": (HELLO, {}),
    "stream": (True, {}),
    "tools": ([TOOL], {}),
    "tool_choice": ("required", {"tools": [TOOL]}),
    "parallel_tool_calls": (False, {"tools": [TOOL]}),
    "functions": ([TOOL["function"]], {}),
    "function_call": ({"name": "look"}, {"functions": [TOOL["function"]]}),
    "response_format": ({"type": "json_object"}, {}),
    "reasoning_effort": ("high", {}),
    "verbosity": ("low", {}),
    "service_tier": ("priority", {}),
    "web_search_options": ({"search_context_size": "low"}, {}),
    "prompt_cache_key": ("conversation-1", {}),
    "stop": (["END"], {}),
    "max_tokens": (5, {}),
    "max_completion_tokens": (5, {}),
    "n": (2, {}),
    "stream_options": ({"include_usage": True}, {"stream": True}),
    "metadata": ({"job": "7"}, {}),
    "store": (True, {}),
    "temperature": (0.2, {}),
    "top_p": (0.5, {}),
    "frequency_penalty": (1, {}),
    "presence_penalty": (1, {}),
    "logit_bias": ({"50256": -100}, {}),
    "seed": (7, {}),
    "logprobs": (True, {}),
    "top_logprobs": (3, {}),
    "prediction": ({"type": "content", "content": "x"}, {}),
    "user": ("ann", {}),
    "safety_identifier": ("ann", {}),
    "prompt_cache_retention": ("24h", {}),
    "prompt_cache_options": ({"ttl": "30m"}, {}),
    "moderation": ({"model": "m"}, {}),
    "modalities": (["audio"], {}),
    "audio": ({"voice": "ash", "format": "mp3"}, {}),
    "input": ("hi", {"messages": None}),
    "instructions": ("Be brief.", {}),
    "text": ({"verbosity": "low"}, {}),
    "include": (["reasoning.encrypted_content"], {}),
    "max_output_tokens": (5, {}),
    "previous_response_id": ("resp_1", {}),
    "conversation": ("conv_1", {}),
    "background": (True, {}),
    "truncation": ("none", {}),
    "max_tool_calls": (3, {}),
    "context_management": ([{"type": "compaction"}], {}),
    "prompt": ({"id": "pmpt_1"}, {}),
    "client_metadata": ({"a": "b"}, {}),
    "reasoning": ({"effort": "low"}, {}),
    "reasoning_summary": ("detailed", {}),
    "reasoning_compat": ("o3", {}),
    "include_reasoning": (False, {}),
    "thinking": ({"type": "disabled"}, {}),
    "enable_thinking": (False, {}),
    "top_k": (40, {}),
    "min_p": (0.1, {}),
    "top_a": (0.1, {}),
    "repetition_penalty": (1.1, {}),
    "best_of": (3, {}),
    "chat_template_kwargs": ({"a": 1}, {}),
}


def platform_fields() -> set[str]:
    document = json.loads((SCHEMAS / "CreateChatCompletionRequest.json").read_text())
    return set(_properties(document["$defs"], {"$ref": document["$ref"]}))


def _properties(definitions: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    found = set(schema.get("properties", {}))
    return found.union(*(_properties(definitions, part) for part in schema.get("allOf", [])))


def test_the_table_holds_every_field_of_the_platforms_request_and_calls_no_other_so():
    assert {field.name for field in FIELDS.values() if field.origin == "platform"} == platform_fields()


def test_every_field_has_a_value_that_puts_it_to_the_test():
    assert ASKING.keys() == FIELDS.keys()


def with_field(name: str) -> Turn:
    value, needed = ASKING[name]
    return turn_of(**{**needed, name: value})


def without(turn: Turn) -> tuple[Any, ...]:
    return (turn.model, turn.body, turn.stream, turn.stop, turn.max_tokens, turn.count, turn.planning, turn.render)


@pytest.mark.parametrize("field", FIELDS.values(), ids=lambda field: field.name)
def test_a_field_meets_its_fate(field: Field):
    value, needed = ASKING[field.name]
    if field.fate == REFUSED:
        with pytest.raises(InvalidRequest) as refusal:
            turn_of(**{**needed, field.name: value})
        assert refusal.value.param == field.name
        return
    turn = with_field(field.name)
    assert (field.name in turn.ignored) is (field.fate == IGNORED)
    assert field.note.endswith(".")
    if field.fate == IGNORED:
        assert without(turn) == without(turn_of(**needed))


# Without these three there is no turn to compare with.
HONOURED = [
    field.name
    for field in FIELDS.values()
    if field.fate in (MAPPED, EMULATED) and field.name not in ("model", "messages", "input")
]


@pytest.mark.parametrize("name", HONOURED)
def test_an_honoured_field_changes_the_turn(name: str):
    _, needed = ASKING[name]
    if name == "function_call":
        needed = {"functions": needed["functions"]}
    assert without(with_field(name)) != without(turn_of(**needed))


@pytest.mark.parametrize("field", FIELDS.values(), ids=lambda field: field.name)
def test_a_neutral_value_is_accepted_in_silence(field: Field):
    for value in (*field.neutral, None):
        if field.name == "messages":
            continue
        assert field.name not in turn_of(**{field.name: value}).ignored


@pytest.mark.parametrize(
    ("name", "value", "neutral"),
    [("temperature", 1.0, True), ("temperature", True, False), ("logprobs", False, True), ("logprobs", 0, True)],
)
def test_numbers_and_booleans_are_told_apart(name: str, value: Any, neutral: bool):
    assert FIELDS[name].is_neutral(value) is neutral


def test_unknown_fields_are_ignored_and_named_in_a_way_that_suits_a_header():
    payload = {"model": "m", "messages": HELLO, "wizardry": 1, "naïve\r\nx-evil: 1": 2, "y" * 100: 3}
    assert API.parse(payload, Caller()).ignored == ("wizardry", "na?ve??x-evil??1", "y" * 64)


def test_camel_case_is_understood_for_fields_that_exist():
    turn = turn_of(reasoningEffort="low", topP=0.3, fooBar=1)
    assert turn.body["reasoning"] == {"effort": "low"}
    assert turn.ignored == ("fooBar", "top_p")
    assert turn.adapted == ("reasoningEffort->reasoning_effort", "topP->top_p")
