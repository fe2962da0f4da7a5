"""Tools and choices in all forms that clients send."""

from typing import Any

import pytest

from tests.apis.chat_reading import turn_of

SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}}
GRAMMAR = {"syntax": "lark", "definition": "start: /.+/"}

TOOLS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}},
        {"type": "function", "name": "f", "description": "d", "parameters": SCHEMA, "strict": False},
    ),
    (
        {"type": "function", "name": "f", "parameters": SCHEMA, "strict": None},
        {"type": "function", "name": "f", "parameters": SCHEMA, "strict": False},
    ),
    (
        {"function": {"name": "f"}},
        {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False},
    ),
    (
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},
        {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False},
    ),
    (
        {"type": "custom", "custom": {"name": "p", "format": {"type": "grammar", "grammar": GRAMMAR}}},
        {"type": "custom", "name": "p", "format": {"type": "grammar", **GRAMMAR}},
    ),
    (
        {"type": "custom", "name": "p", "description": "d", "format": {"type": "grammar", **GRAMMAR}},
        {"type": "custom", "name": "p", "description": "d", "format": {"type": "grammar", **GRAMMAR}},
    ),
    (
        {"type": "custom", "custom": {"name": "p", "format": {"type": "text"}}},
        {"type": "custom", "name": "p", "format": {"type": "text"}},
    ),
    ({"type": "custom", "custom": {"name": "p"}}, {"type": "custom", "name": "p"}),
    ({"type": "web_search"}, {"type": "web_search"}),
    (
        {"type": "web_search_preview", "search_context_size": "low"},
        {"type": "web_search", "search_context_size": "low"},
    ),
    ({"type": "local_shell"}, {"type": "local_shell"}),
]


@pytest.mark.parametrize(("given", "sent"), TOOLS)
def test_a_tool_is_sent_in_the_words_of_the_responses_api(given: dict[str, Any], sent: dict[str, Any]):
    assert turn_of(tools=[given]).body["tools"] == [sent]


def test_each_tool_is_read_by_itself():
    assert turn_of(tools=[given for given, _ in TOOLS]).body["tools"] == [sent for _, sent in TOOLS]


OFFERED = [
    {"type": "function", "function": {"name": "f"}},
    {"type": "custom", "custom": {"name": "p"}},
    {"type": "web_search"},
]
CHOICES: list[tuple[Any, Any]] = [
    ("auto", "auto"),
    ("none", "none"),
    ("required", "required"),
    ("any", "required"),
    ({"type": "any"}, "required"),
    ({"type": "function", "function": {"name": "f"}}, {"type": "function", "name": "f"}),
    ({"type": "function", "name": "f"}, {"type": "function", "name": "f"}),
    ({"function": {"name": "f"}}, {"type": "function", "name": "f"}),
    ({"type": "custom", "custom": {"name": "p"}}, {"type": "custom", "name": "p"}),
    # Cursor wraps custom tools as functions in its choices, too.
    ({"type": "function", "function": {"name": "p"}}, {"type": "custom", "name": "p"}),
    (
        {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
        },
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
    ),
    (
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search_preview"}]},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]},
    ),
    ({"type": "web_search_preview"}, {"type": "web_search"}),
]


@pytest.mark.parametrize(("given", "sent"), CHOICES)
def test_a_choice_is_sent_in_the_words_of_the_responses_api(given: Any, sent: Any):
    assert turn_of(tools=OFFERED, tool_choice=given).body["tool_choice"] == sent


@pytest.mark.parametrize(
    ("given", "sent"), [("auto", "auto"), ("none", "none"), ({"name": "f"}, {"type": "function", "name": "f"})]
)
def test_a_legacy_choice_is_a_choice(given: Any, sent: Any):
    body = turn_of(functions=[{"name": "f"}], function_call=given).body
    assert (body["tool_choice"], body["parallel_tool_calls"]) == (sent, False)


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_a_choice_without_tools_that_asks_for_nothing_is_dropped(choice: str):
    body = turn_of(tool_choice=choice, parallel_tool_calls=True, tools=[]).body
    assert not body.keys() & {"tools", "tool_choice", "parallel_tool_calls"}


def test_web_search_options_are_a_web_search_tool():
    place = {"city": "Paris", "country": "FR"}
    options = {"search_context_size": "low", "user_location": {"type": "approximate", "approximate": place}}
    assert turn_of(web_search_options=options).body["tools"] == [
        {"type": "web_search", "search_context_size": "low", "user_location": {**place, "type": "approximate"}}
    ]
    assert len(turn_of(web_search_options={}, tools=[{"type": "web_search"}]).body["tools"]) == 1


def test_a_strict_tool_is_closed_where_that_is_all_it_lacks():
    parameters = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
    turn = turn_of(tools=[{"type": "function", "function": {"name": "f", "parameters": parameters, "strict": True}}])
    (tool,) = turn.body["tools"]
    assert (tool["strict"], tool["parameters"]["additionalProperties"]) == (True, False)
    assert turn.adapted == ("tools:schema_fitted",)


def test_a_strict_tool_whose_arguments_would_change_shape_is_sent_without_strictness():
    turn = turn_of(tools=[{"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}}])
    (tool,) = turn.body["tools"]
    assert (tool["strict"], tool["parameters"]) == (False, SCHEMA)
    assert turn.adapted == ("tools:strict_off",)


def test_refused_names_are_shortened_everywhere_and_reported():
    name = "server/tool name"
    call = {"id": "a", "type": "function", "function": {"name": name, "arguments": "{}"}}
    turn = turn_of(
        tools=[{"type": "function", "function": {"name": name}}],
        tool_choice={"type": "function", "function": {"name": name}},
        messages=[{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [call]}],
    )
    (tool,) = turn.body["tools"]
    assert tool["name"] == turn.body["tool_choice"]["name"] == turn.body["input"][1]["name"]
    assert dict(turn.tool_names) == {tool["name"]: name}
    assert turn.adapted == ("tools:names_shortened",)
