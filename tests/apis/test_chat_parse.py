"""Chat requests as turns: what is said, by whom, with which tools, and what is refused."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codexproxy.apis.openai_chat import ChatApi
from codexproxy.apis.openai_chat.options import ChatRenderOptions
from codexproxy.errors import InvalidRequest
from codexproxy.protocol.request import Caller, Turn
from tests.apis.chat_reading import API, HELLO, turn_of

WRAPPED = {"name": "ApplyPatch", "arguments": "*** Begin Patch"}
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"


def items_of(*messages: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return list(turn_of(messages=list(messages), **more).body["input"])


def said(role: str, text: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def refusal(**payload: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as failure:
        turn_of(**payload)
    return failure.value


# -- who says what ------------------------------------------------------------------------


def test_leading_system_and_developer_texts_become_the_instructions():
    turn = turn_of(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "kind."}]},
            {"role": "user", "content": "hi"},
        ]
    )
    assert turn.body["instructions"] == "Be brief.\n\nBe\nkind."
    assert turn.body["input"] == [said("user", "hi")]
    assert turn.adapted == ()


def test_without_system_text_there_are_no_instructions():
    assert "instructions" not in turn_of().body


def test_a_later_system_message_becomes_a_developers_in_place_and_that_is_reported():
    turn = turn_of(messages=[*HELLO, {"role": "system", "content": "Now in French."}, *HELLO])
    assert turn.body["input"] == [said("user", "hi"), said("developer", "Now in French."), said("user", "hi")]
    assert turn.adapted == ("messages:system_to_developer",)


def test_system_text_alone_is_an_input_since_a_turn_needs_one():
    turn = turn_of(messages=[{"role": "system", "content": "Say hi."}])
    assert turn.body["input"] == [said("developer", "Say hi.")]
    assert "instructions" not in turn.body


def test_parts_of_a_user_keep_order_kind_and_detail():
    (item,) = items_of(
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is it?", "prompt_cache_breakpoint": {"mode": "explicit"}},
                {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
                {"type": "image_url", "image_url": "https://e.org/a.png"},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "input_text", "text": "mixed"},
                {"type": "input_image", "image_url": PNG},
            ],
        }
    )
    assert item["content"] == [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": PNG, "detail": "low"},
        {"type": "input_image", "image_url": "https://e.org/a.png"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_text", "text": "mixed"},
        {"type": "input_image", "image_url": PNG},
    ]


def test_bare_base64_of_a_file_becomes_a_data_url():
    (item,) = items_of({"role": "user", "content": [{"type": "file", "file": {"file_data": "JVBE"}}]})
    assert item["content"][0]["file_data"] == "data:application/pdf;base64,JVBE"


def test_an_assistants_history_with_text_refusal_and_calls():
    items = items_of(
        *HELLO,
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "Looking."}, {"type": "refusal", "refusal": "Not that."}],
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"x":1}'}},
                {"id": "b", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "7"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "ok"}]},
        {"role": "assistant", "content": None, "refusal": "I can't."},
        {"role": "assistant", "content": ""},
    )
    assert items[1:] == [
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Looking."}, {"type": "refusal", "refusal": "Not that."}],
        },
        {"type": "function_call", "call_id": "a", "name": "look", "arguments": '{"x":1}'},
        {"type": "custom_tool_call", "call_id": "b", "name": "patch", "input": "*** Begin"},
        {"type": "function_call_output", "call_id": "a", "output": "7"},
        {"type": "custom_tool_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "ok"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "I can't."}]},
    ]


def test_arguments_that_are_an_object_become_a_string_and_missing_ones_an_empty_object():
    calls = [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}, {"id": "b", "function": {"name": "g"}}]
    items = items_of({"role": "assistant", "tool_calls": calls})
    assert [item["arguments"] for item in items] == ['{"x":1}', "{}"]


def test_legacy_function_calls_meet_their_results():
    items = items_of(
        *HELLO,
        {"role": "assistant", "content": None, "function_call": {"name": "add", "arguments": "{}"}},
        {"role": "function", "name": "add", "content": "2"},
        {"role": "assistant", "content": None, "function_call": {"name": "add", "arguments": "{}"}},
        {"role": "function", "name": "add", "content": None},
    )
    assert [(item["type"], item.get("call_id"), item.get("output")) for item in items[1:]] == [
        ("function_call", "call_legacy_0", None),
        ("function_call_output", "call_legacy_0", "2"),
        ("function_call", "call_legacy_1", None),
        ("function_call_output", "call_legacy_1", ""),
    ]


def test_the_models_own_thoughts_do_not_go_back():
    turn = turn_of(messages=[*HELLO, {"role": "assistant", "content": "4", "reasoning_content": "2+2"}])
    assert turn.body["input"][1] == said("assistant", "4")
    assert turn.adapted == ("messages:reasoning_left_out",)


def test_names_of_participants_are_reported_as_ignored():
    assert turn_of(messages=[{"role": "user", "name": "ann", "content": "hi"}]).ignored == ("messages.name",)


def test_a_responses_shaped_body_is_taken_and_answered_as_chat():
    turn = API.parse(
        {
            "model": "gpt-5.2",
            "input": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
                {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "a", "output": "7"},
            ],
            "instructions": "First.",
            "tools": [{"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}],
            "tool_choice": {"type": "function", "name": "look"},
            "reasoning": {"effort": "low", "summary": "auto"},
            "text": {"verbosity": "low", "format": {"type": "json_object"}},
            "max_output_tokens": 50,
            "stream": True,
        },
        Caller(client="cursor"),
    )
    assert turn.body["instructions"] == "First.\n\nBe brief."
    assert [item["type"] for item in turn.body["input"]][1:] == ["message", "function_call", "function_call_output"]
    assert turn.body["tools"][0]["name"] == turn.body["tool_choice"]["name"] == "look"
    assert turn.body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert turn.body["text"] == {"verbosity": "low", "format": {"type": "json_object"}}
    assert (turn.max_tokens, turn.stream) == (50, True)


def test_input_may_be_a_string_and_items_may_stand_among_messages():
    assert API.parse({"model": "m", "input": "hi"}, Caller()).body["input"] == [said("user", "hi")]
    item = {"type": "function_call_output", "call_id": "a", "output": "7"}
    assert items_of(*HELLO, item)[1] == item


@pytest.mark.parametrize(
    "wrapped",
    [
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": WRAPPED}]},
        {"type": "function_call", "id": "fc_1", "call_id": "a", **WRAPPED},
    ],
)
def test_a_custom_call_that_a_client_wrapped_is_custom_again(wrapped: dict[str, Any]):
    patch = {"type": "custom", "custom": {"name": "ApplyPatch", "format": {"type": "text"}}}
    items = items_of(*HELLO, wrapped, tools=[patch])
    assert items[1] == {
        "type": "custom_tool_call",
        "call_id": "a",
        "name": "ApplyPatch",
        "input": "*** Begin Patch",
    }


# -- what surrounds it ----------------------------------------------------------------------


def test_json_mode_needs_the_word_in_the_input_so_it_is_put_there():
    system = {"role": "system", "content": "Answer in JSON."}
    turn = turn_of(messages=[system, *HELLO], response_format={"type": "json_object"})
    assert "json" in str(turn.body["input"]).lower()
    assert turn.adapted == ("response_format:json_reminder",)
    told = [{"role": "user", "content": "Some JSON, please"}]
    assert turn_of(messages=told, response_format={"type": "json_object"}).adapted == ()


@pytest.mark.parametrize("format", [{"type": "text"}, None])
def test_plain_text_is_no_format(format: Any):
    assert "text" not in turn_of(response_format=format).body


def test_a_schema_has_a_name_and_a_strictness_whatever_was_sent():
    schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    given: dict[str, dict[str, Any]] = {
        "whole": {"name": "a b/c", "schema": schema, "strict": True, "description": "d"},
        "bare": {"schema": schema},
    }
    read = {
        key: turn_of(response_format={"type": "json_schema", "json_schema": value}).body["text"]["format"]
        for key, value in given.items()
    }
    assert read["whole"] == {
        "type": "json_schema",
        "name": "a_b_c",
        "schema": schema,
        "strict": True,
        "description": "d",
    }
    assert read["bare"] == {"type": "json_schema", "name": "response", "schema": schema, "strict": False}


REASONING: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"reasoning_effort": "high"}, {"effort": "high"}),
    ({"reasoning": {"effort": "low", "summary": "detailed"}}, {"effort": "low", "summary": "detailed"}),
    ({"reasoning_effort": "high", "reasoning": {"effort": "low"}}, {"effort": "high"}),
    ({"reasoning_summary": "concise"}, {"summary": "concise"}),
    ({"reasoning": {"enabled": False}}, {"effort": "none"}),
    ({"reasoning": {"max_tokens": 1000}}, {"effort": "low"}),
    ({"thinking": {"type": "disabled"}}, {"effort": "none"}),
    ({"thinking": {"type": "enabled", "budget_tokens": 4000}}, {"effort": "medium"}),
    ({"thinking": {"type": "enabled", "budget_tokens": 64000}}, {"effort": "high"}),
    ({"thinking": {"type": "enabled"}}, {}),
    ({"enable_thinking": False}, {"effort": "none"}),
    ({}, {}),
]


@pytest.mark.parametrize(("fields", "expected"), REASONING)
def test_reasoning_may_be_asked_for_in_many_ways(fields: dict[str, Any], expected: dict[str, Any]):
    assert turn_of(**fields).body.get("reasoning", {}) == expected


@pytest.mark.parametrize(
    ("fields", "style"),
    [
        ({}, "reasoning_content"),
        ({"reasoning_compat": "o3"}, "o3"),
        ({"reasoning": {"exclude": True}}, "none"),
        ({"include_reasoning": False}, "none"),
    ],
)
def test_how_reasoning_is_shown_can_be_chosen_per_request(fields: dict[str, Any], style: str):
    assert ChatRenderOptions.of(turn_of(**fields)).reasoning == style


def test_how_reasoning_is_shown_is_else_the_owners_choice():
    turn = ChatApi("think-tags").parse({"model": "m", "messages": HELLO}, Caller())
    assert ChatRenderOptions.of(turn).reasoning == "think"


LIMITS: list[tuple[dict[str, Any], int | None]] = [
    ({"max_tokens": 16}, 16),
    ({"max_tokens": 16.0}, 16),
    ({"max_tokens": "16"}, 16),
    ({"max_tokens": 16, "max_completion_tokens": 9}, 9),
    ({"max_tokens": None}, None),
    ({"maxTokens": 16}, 16),
]


@pytest.mark.parametrize(("fields", "expected"), LIMITS)
def test_the_cap_on_tokens(fields: dict[str, Any], expected: int | None):
    assert turn_of(**fields).max_tokens == expected


def test_stop_texts_are_one_or_many_and_never_empty():
    assert turn_of(stop="END").stop == ("END",)
    assert turn_of(stop=["a", "", "b", "a"]).stop == ("a", "b")
    assert turn_of(stop=None).stop == turn_of(stop="").stop == ()
    assert turn_of(stop="x", max_tokens=5).adapted == ("stop:emulated", "max_tokens:emulated")


def test_the_number_of_answers_and_their_bodies():
    turn = turn_of(n=3)
    assert turn.count == 3
    assert API.bodies(turn) == [turn.body] * 3


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("false", False), (1, True), (None, False)])
def test_shell_scripts_may_write_stream_as_a_string(value: Any, expected: bool):
    assert turn_of(stream=value).stream is expected


def test_usage_is_promised_only_to_streams():
    options = {"include_usage": True}
    assert ChatRenderOptions.of(turn_of(stream=True, stream_options=options)).include_usage
    turn = turn_of(stream_options=options)
    assert not ChatRenderOptions.of(turn).include_usage
    assert turn.ignored == ("stream_options",)


def test_a_missing_model_is_left_to_the_default():
    turn = API.parse({"messages": HELLO}, Caller())
    assert turn.model == turn.body["model"] == ""


# -- refusals --------------------------------------------------------------------------------

USER_PART: dict[str, Any] = {"role": "user"}
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"messages": None}, "messages", "missing_required_parameter"),
    ({"messages": "hi"}, "messages", "invalid_type"),
    ({"messages": []}, "messages", "invalid_value"),
    ({"messages": ["hi"]}, "messages[0]", "invalid_type"),
    ({"messages": [{"content": "hi"}]}, "messages[0].role", "missing_required_parameter"),
    ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"role": ["user"], "content": "hi"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid_type"),
    ({"messages": [*HELLO, {"role": "user", "content": [7]}]}, "messages[1].content[0]", "invalid_type"),
    ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type", "missing_required_parameter"),
    ({"messages": [{"role": "user", "content": [{"type": {}}]}]}, "messages[0].content[0].type", "invalid_type"),
    ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "messages[0].content[0].type", "invalid_value"),
    (
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        "messages[0].content[0].text",
        "missing_required_parameter",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        "messages[0].content[0]",
        "unsupported_content",
    ),
    (
        {"messages": [{"role": "assistant", "content": [{"type": "video_url", "video_url": {"url": "v"}}]}]},
        "messages[0].content[0]",
        "unsupported_content",
    ),
    ({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, "messages[0].audio", "unsupported_content"),
    ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls", "invalid_type"),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {}}]}]},
        "messages[0].tool_calls[0].function.name",
        "missing_required_parameter",
    ),
    ({"messages": [{"role": "tool", "tool_call_id": 5, "content": ""}]}, "messages[0].tool_call_id", "invalid_type"),
    ({"messages": [{"role": "tool", "tool_call_id": "a"}]}, "messages[0].content", "missing_required_parameter"),
    ({"messages": [{"role": "function", "content": "2"}]}, "messages[0].name", "missing_required_parameter"),
    ({"messages": None, "input": 5}, "input", "invalid_type"),
    ({"messages": None, "input": []}, "input", "invalid_value"),
    ({"messages": None, "input": [{"role": "user", "content": 5}]}, "input[0].content", "invalid_type"),
    ({"model": 5}, "model", "invalid_type"),
    ({"stream": "perhaps"}, "stream", "invalid_type"),
    ({"stream": []}, "stream", "invalid_type"),
    ({"n": 0}, "n", "invalid_value"),
    ({"n": 129}, "n", "invalid_value"),
    ({"n": "many"}, "n", "invalid_type"),
    ({"n": True}, "n", "invalid_type"),
    ({"max_tokens": 0}, "max_tokens", "invalid_value"),
    ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
    ({"stop": 5}, "stop", "invalid_type"),
    ({"stop": ["a", 5]}, "stop[1]", "invalid_type"),
    ({"stop": ["a" * 1001]}, "stop[0]", "invalid_value"),
    ({"response_format": "json"}, "response_format", "invalid_type"),
    ({"response_format": {}}, "response_format.type", "missing_required_parameter"),
    ({"response_format": {"type": "yaml"}}, "response_format.type", "invalid_value"),
    ({"response_format": {"type": "json_schema"}}, "response_format.schema", "missing_required_parameter"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": []}}},
        "response_format.json_schema.schema",
        "invalid_type",
    ),
    ({"verbosity": "chatty"}, "verbosity", "invalid_value"),
    ({"reasoning": "high"}, "reasoning", "invalid_type"),
    ({"reasoning": {"effort": 5}}, "reasoning.effort", "invalid_type"),
    ({"reasoning_compat": "smoke"}, "reasoning_compat", "invalid_value"),
    ({"metadata": {"a": 1}}, "metadata.a", "invalid_value"),
    ({"audio": {"voice": "ash", "format": "mp3"}}, "audio", "unsupported_content"),
    ({"modalities": ["text", "audio"]}, "modalities", "unsupported_content"),
    ({"tools": {}}, "tools", "invalid_type"),
    ({"tools": [5]}, "tools[0]", "invalid_type"),
    ({"tools": [{}]}, "tools[0].name", "missing_required_parameter"),
    ({"tools": [{"type": "function", "function": 5}]}, "tools[0].function", "invalid_type"),
    ({"tools": [{"type": "function", "function": {"name": 5}}]}, "tools[0].function.name", "invalid_type"),
    ({"tools": [{"type": "hammer"}]}, "tools[0].type", "invalid_value"),
    ({"tools": [{"type": ["function"]}]}, "tools[0].type", "invalid_value"),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
        "tools[0].function.parameters",
        "invalid_type",
    ),
    (
        {"tools": [{"type": "custom", "custom": {"name": "f", "format": {"type": "grammar", "grammar": {}}}}]},
        "tools[0].custom.format.grammar.definition",
        "missing_required_parameter",
    ),
    ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
    ({"tool_choice": "maybe"}, "tool_choice", "invalid_value"),
    ({"tool_choice": 5}, "tool_choice", "invalid_type"),
    ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice.function.name", "invalid_value"),
    ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.tools", "invalid_type"),
    ({"function_call": {"name": "f"}}, "function_call.name", "invalid_value"),
    ({"functions": [{}]}, "functions[0].name", "missing_required_parameter"),
]


@pytest.mark.parametrize(("payload", "param", "code"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_cannot_work_is_refused_with_its_place(payload: dict[str, Any], param: str, code: str):
    error = refusal(**payload)
    assert (error.param, error.code, error.status) == (param, code, 400)
    assert error.message.endswith(".")


IMAGES: list[tuple[Any, str, str]] = [
    (None, "", "missing_required_parameter"),
    ({}, "", "invalid_type"),
    ({"url": 5}, "", "invalid_type"),
    ({"url": "file:///etc/passwd"}, "", "invalid_value"),
    ({"url": "data:image/png,raw"}, "", "invalid_value"),
    ({"url": "data:text/plain;base64,aGk="}, "", "unsupported_content"),
    ({"url": "data:image/png;base64,????"}, "", "invalid_value"),
    ({"url": "data:image/png;base64,"}, "", "invalid_value"),
    ({"url": "data:image/png;base64,aGVsbG8gd29ybGQh"}, "", "unsupported_content"),
    ({"url": PNG, "detail": "extreme"}, ".detail", "invalid_value"),
]


@pytest.mark.parametrize(("image", "where", "code"), IMAGES)
def test_an_image_that_cannot_be_one_is_refused_here(image: Any, where: str, code: str):
    part = {"type": "image_url"} | ({} if image is None else {"image_url": image})
    error = refusal(messages=[*HELLO, {"role": "user", "content": [{"type": "text", "text": "?"}, part]}])
    assert (error.param, error.code) == (f"messages[1].content[1].image_url{where}", code)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "role", "name", "x"]), inner),
    max_leaves=6,
)
KNOWN = {
    "role": st.sampled_from(["user", "assistant", "system", "tool", "function"]),
    "content": JSON | st.lists(st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url", "file"])})),
    "tool_calls": JSON,
    "function_call": JSON,
    "tool_call_id": JSON,
    "name": JSON,
}
FIELDS = dict.fromkeys(
    [
        "model",
        "stream",
        "tools",
        "tool_choice",
        "response_format",
        "stop",
        "n",
        "max_tokens",
        "reasoning",
        "thinking",
        "text",
        "metadata",
        "stream_options",
        "web_search_options",
        "functions",
        "function_call",
        "modalities",
    ],
    JSON,
)


@settings(max_examples=400)
@given(
    st.fixed_dictionaries(
        {"messages": st.lists(st.fixed_dictionaries({}, optional=KNOWN) | JSON, max_size=3) | JSON}, optional=FIELDS
    )
)
def test_any_json_is_a_turn_or_a_refusal(payload: dict[str, Any]):
    try:
        assert isinstance(API.parse(payload, Caller()), Turn)
    except InvalidRequest as error:
        assert error.status == 400


def test_nesting_without_end_is_a_refusal():
    deep: Any = "x"
    for _ in range(5000):
        deep = {"type": "object", "properties": {"a": deep}}
    format = {"type": "json_schema", "json_schema": {"name": "a", "schema": deep, "strict": True}}
    for payload in (
        {"response_format": format},
        {"tool_choice": deep},
        {"messages": [{"role": "user", "content": deep}]},
    ):
        assert refusal(**payload).status == 400


@pytest.mark.parametrize("item", [{"type": "item_reference", "id": "msg_1"}, {"id": "msg_1"}])
def test_a_reference_to_an_item_is_refused_with_a_way_out(item: dict[str, Any]):
    with pytest.raises(InvalidRequest) as refusal:
        API.parse({"model": "gpt-5.2", "input": [{"role": "user", "content": "hi"}, item]}, Caller())
    assert (refusal.value.status, refusal.value.code, refusal.value.param) == (400, "unsupported_content", "input[1]")
    assert "/v1/responses" in refusal.value.message
