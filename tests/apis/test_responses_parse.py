"""Responses requests become turns."""

import json
from typing import Any

import pytest

from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.apis.openai_responses.fields import FIELDS, Fate
from codexproxy.apis.openai_responses.response_builder import ResponsesRenderOptions
from codexproxy.errors import InvalidRequest
from codexproxy.protocol.request import Caller, Turn
from tests.data import SCHEMAS


def parse(**payload: Any) -> Turn:
    return ResponsesApi().parse({"model": "gpt-5.2", "input": "hi", **payload}, Caller("ann"))


def refusal(**payload: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse(**payload)
    return caught.value


def test_a_string_input_becomes_one_user_message():
    turn = parse(input="hello")
    assert turn.body["input"] == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
    ]
    assert (turn.model, turn.stream, turn.caller.key) == ("gpt-5.2", False, "ann")


def test_the_body_holds_what_is_mapped_and_nothing_else():
    turn = parse(
        instructions="Be brief.",
        stream=True,
        store=False,
        metadata={"trace": "7"},
        temperature=0.2,
        max_output_tokens=99,
        prompt_cache_key="thread-1",
        text={"verbosity": "low"},
    )
    assert set(turn.body) == {"model", "input", "instructions", "prompt_cache_key", "text"}
    assert turn.stream and turn.max_tokens == 99 and turn.cache_key == "thread-1"
    assert turn.storage.store is False and ResponsesRenderOptions.of(turn).metadata == {"trace": "7"}
    assert turn.ignored == ("temperature",)


def test_every_field_of_the_published_request_has_a_fate():
    schema = json.loads((SCHEMAS / "CreateResponse.json").read_text())
    definitions = schema["$defs"]

    def fields(part: dict[str, Any]) -> set[str]:
        if "$ref" in part:
            return fields(definitions[part["$ref"].rpartition("/")[2]])
        nested = (fields(inner) for inner in part.get("allOf", []))
        return set(part.get("properties", {})).union(*nested)

    published = fields(schema)
    assert len(published) > 25
    assert published <= set(FIELDS)


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.fate is Fate.IGNORED])
def test_an_ignored_field_is_reported_and_its_default_is_not(name: str):
    samples: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.5,
        "top_logprobs": 3,
        "max_tool_calls": 4,
        "prompt_cache_options": {"ttl": "1h"},
        "context_management": [{"type": "compaction"}],
        "stream_options": {"include_obfuscation": False},
        "moderation": {"model": "m"},
    }
    assert parse(**{name: samples.get(name, "auto")}).ignored == (name,)
    for plain in (None, *FIELDS[name].plain):
        turn = parse(**{name: plain})
        assert turn.ignored == () and name not in turn.body


def test_an_unknown_field_is_reported_and_not_sent():
    turn = parse(frequency_penalty=1, seed=3)
    assert turn.ignored == ("frequency_penalty", "seed")
    assert set(turn.body) == {"model", "input"}


def test_the_service_tiers_that_upstream_refuses_to_hear_are_left_out():
    assert "service_tier" not in parse(service_tier="auto").body
    assert parse(service_tier="priority").body["service_tier"] == "priority"


@pytest.mark.parametrize("name", ["conversation", "prompt"])
def test_what_would_change_the_answer_is_refused_with_a_way_out(name: str):
    error = refusal(**{name: {"id": "x"}})
    assert (error.status, error.param, error.code) == (400, name, "unsupported_parameter")
    assert "'input'" in error.message


@pytest.mark.parametrize(
    ("payload", "param", "code"),
    [
        ({"model": 5}, "model", "invalid_type"),
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": []}, "input", "invalid_value"),
        ({"input": 5}, "input", "invalid_type"),
        ({"input": ["hi"]}, "input[0]", "invalid_type"),
        ({"input": [{"text": "hi"}]}, "input[0].type", "missing_required_parameter"),
        ({"input": [{"type": 7}]}, "input[0].type", "invalid_type"),
        ({"input": [{"role": "user"}]}, "input[0].content", "missing_required_parameter"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content", "invalid_type"),
        ({"input": [{"role": "user", "content": ["x"]}]}, "input[0].content[0]", "invalid_type"),
        ({"input": [{"type": "function_call_output", "output": ""}]}, "input[0].call_id", "missing_required_parameter"),
        ({"tools": {}}, "tools", "invalid_type"),
        ({"tools": [5]}, "tools[0]", "invalid_type"),
        ({"tools": [{}]}, "tools[0].type", "missing_required_parameter"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].name", "missing_required_parameter"),
        ({"stream": "true"}, "stream", "invalid_type"),
        ({"store": 1}, "store", "invalid_type"),
        ({"max_output_tokens": 0}, "max_output_tokens", "invalid_value"),
        ({"max_output_tokens": True}, "max_output_tokens", "invalid_type"),
        ({"metadata": {"a": 1}}, "metadata", "invalid_type"),
        ({"include": "x"}, "include", "invalid_type"),
        ({"reasoning": "high"}, "reasoning", "invalid_type"),
        ({"reasoning": {"effort": 3}}, "reasoning.effort", "invalid_type"),
        ({"reasoning": {"effort": ["low"]}}, "reasoning.effort", "invalid_type"),
        ({"reasoning": {"summary": True}}, "reasoning.summary", "invalid_type"),
        ({"text": {"verbosity": 1}}, "text.verbosity", "invalid_type"),
        ({"text": {"verbosity": "chatty"}}, "text.verbosity", "invalid_value"),
        ({"background": True, "store": False}, "background", "invalid_value"),
    ],
)
def test_a_malformed_field_is_named_by_its_path(payload: dict[str, Any], param: str, code: str):
    error = refusal(**payload)
    assert (error.param, error.code, error.status) == (param, code, 400)


def test_a_continued_response_needs_no_input_of_its_own():
    turn = parse(input=None, previous_response_id="resp_1")
    assert turn.body["input"] == []
    assert turn.storage.previous_response_id == "resp_1"
    assert "previous_response_id" not in turn.body


def test_a_request_that_names_no_model_leaves_it_to_the_default():
    assert parse(model=None).model == ""


def test_items_without_a_type_are_messages_or_references():
    turn = parse(input=[{"role": "user", "content": "a"}, {"id": "msg_1"}])
    assert [item["type"] for item in turn.body["input"]] == ["message", "item_reference"]


def test_unknown_items_and_tools_pass_untouched():
    items = [{"type": "compaction_trigger"}, {"type": "from_the_future", "payload": [1, {"a": None}]}]
    tools = [{"type": "from_the_future", "x": {}}, {"type": "web_search", "external_web_access": False}]
    turn = parse(input=items, tools=tools)
    assert turn.body["input"] == items
    assert turn.body["tools"] == tools


def test_a_request_of_the_codex_cli_passes_unharmed():
    payload = {
        "model": "gpt-6-sol",
        "stream": True,
        "input": [
            {
                "type": "additional_tools",
                "id": "at_1",
                "role": "developer",
                "tools": [{"type": "namespace", "name": "functions", "description": "", "tools": []}],
            },
            {"type": "message", "id": "msg_1", "role": "developer", "content": [{"type": "input_text", "text": "x"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": "gA"},
            {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "exec", "namespace": "f", "input": "y"},
            {"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "ok"}]},
            {"type": "compaction", "id": "cmp_1", "encrypted_content": "gB"},
        ],
        "tools": [
            {"type": "function", "name": "exec_command", "strict": False, "parameters": {}},
            {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark"}},
            {"type": "namespace", "name": "image_gen", "tools": []},
            {"type": "tool_search", "execution": "client"},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low", "context": "all_turns"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "thread",
        "text": {"verbosity": "low"},
        "client_metadata": {"session_id": "thread"},
        "service_tier": "priority",
    }
    turn = ResponsesApi().parse(payload, Caller())
    assert turn.body == {name: value for name, value in payload.items() if name not in ("stream", "store")}
    assert turn.ignored == ()
    assert turn.storage.store is False
