"""What chat requests become upstream: whatever is accepted here, the upstream takes too."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codexproxy.errors import InvalidRequest
from codexproxy.planning.model_catalog import ModelCatalog
from codexproxy.planning.plan import ALLOWED, plan
from codexproxy.planning.request_builder import Policy
from codexproxy.protocol.request import Body, Caller
from codexproxy.simulator.catalogue import default_models
from codexproxy.simulator.rules import RULES, Active
from codexproxy.simulator.turn_checks import check_turn
from tests.apis.chat_reading import API, ended, turn_of
from tests.apis.test_chat_recorded import request_bodies

MODELS = {model["slug"]: model for model in default_models()}
DEFAULT_RULES = Active({name: True for name, rule in RULES.items() if rule.default})
CATALOGUE = ModelCatalog(MODELS.values())


def sent(payload: dict[str, Any], slug: str = "gpt-5.2") -> Body:
    """The body as it is sent upstream."""
    turn = API.parse({**payload, "model": slug}, Caller())
    return plan(turn, CATALOGUE, Policy()).body


def assert_taken(body: Body) -> None:
    """The rules of the fake upstream let the body pass."""
    assert body.keys() <= {*ALLOWED, "store", "stream"}
    assert isinstance(body["instructions"], str)
    assert not any(item.get("role") == "system" for item in body["input"])
    check_turn(body, {}, DEFAULT_RULES, MODELS[body["model"]])


@pytest.mark.parametrize("slug", ["gpt-5.2", "gpt-5.1-codex-mini", "gpt-6-sol"])
@pytest.mark.parametrize("payload", request_bodies())
def test_a_recorded_request_is_taken(payload: dict[str, Any], slug: str):
    assert_taken(sent(payload, slug))


def test_what_the_answer_needs_again_survives_the_planning():
    name = "a/b"
    turn = turn_of(metadata={"job": "7"}, tools=[{"type": "function", "function": {"name": name}}])
    planned = plan(turn, CATALOGUE, Policy())
    call = {"type": "function_call", "call_id": "a", "name": planned.body["tools"][0]["name"], "arguments": "{}"}
    told = API.complete(planned, [ended(output=[call])["response"]])
    assert told["metadata"] == {"job": "7"} and "metadata" not in planned.body
    assert told["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == name


TEXT = st.text(max_size=5)
ID = st.sampled_from(["a", "b", "", "x" * 80])
CALL = st.builds(
    lambda id, name, custom: (
        {"id": id, "type": "custom", "custom": {"name": name, "input": "x"}}
        if custom
        else {"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}}
    ),
    ID,
    st.sampled_from(["look", "a/b", "x" * 90]),
    st.booleans(),
)
PART = st.sampled_from(
    [
        {"type": "text", "text": "x"},
        {"type": "image_url", "image_url": {"url": "https://e.org/a.png", "detail": "high"}},
        {"type": "file", "file": {"file_id": "file-1"}, "prompt_cache_breakpoint": {"mode": "explicit"}},
    ]
)
MESSAGE = st.one_of(
    st.builds(
        lambda role, text: {"role": role, "content": text}, st.sampled_from(["system", "developer", "user"]), TEXT
    ),
    st.builds(lambda parts: {"role": "user", "content": parts}, st.lists(PART, max_size=3)),
    st.builds(
        lambda text, calls: {"role": "assistant", "content": text, "tool_calls": calls},
        st.none() | TEXT | st.just("<think>x</think>y"),
        st.lists(CALL, max_size=3),
    ),
    st.builds(lambda id, content: {"role": "tool", "tool_call_id": id, "content": content}, ID, TEXT | st.lists(PART)),
    st.just({"role": "assistant", "function_call": {"name": "f", "arguments": ""}}),
    st.just({"role": "function", "name": "f", "content": None}),
)
TOOLS = st.sampled_from(
    [
        {"type": "function", "function": {"name": "look"}},
        {
            "type": "function",
            "function": {"name": "a/b", "strict": True, "parameters": {"type": "object", "properties": {"x": {}}}},
        },
        {"type": "custom", "name": "x" * 90},
        {"type": "web_search_preview"},
    ]
)
FORMATS = st.sampled_from(
    [
        {"type": "text"},
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"strict": True, "schema": {"type": "array", "items": {}}}},
        {"type": "json_schema", "json_schema": {"schema": {"type": "object", "properties": {"a": {}}}}},
    ]
)
PAYLOAD = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE, min_size=1, max_size=6)},
    optional={
        "tools": st.lists(TOOLS, max_size=3),
        "tool_choice": st.sampled_from(["auto", "none", "required"]),
        "response_format": FORMATS,
        "reasoning_effort": st.sampled_from(["none", "minimal", "xhigh", "ultra", "odd"]),
        "verbosity": st.sampled_from(["low", "high"]),
        "service_tier": st.sampled_from(["auto", "fast", "flex", "scale"]),
        "web_search_options": st.just({}),
        "temperature": st.just(0),
    },
)


@settings(max_examples=300)
@given(PAYLOAD, st.sampled_from(["gpt-5.2", "gpt-5.1-codex", "gpt-6-sol"]))
def test_any_conversation_that_is_accepted_is_taken(payload: dict[str, Any], slug: str):
    try:
        body = sent(payload, slug)
    except InvalidRequest:
        return
    assert_taken(body)


ANSWERS = st.lists(
    st.sampled_from(
        [
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Four."}]},
            {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"type": "function_call", "call_id": "a", "name": "look", "arguments": '{"x":1}'},
            {"type": "custom_tool_call", "call_id": "b", "name": "patch", "input": "*** Begin"},
        ]
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda item: item.get("call_id") or item["content"][0]["type"],
)


@given(ANSWERS)
def test_an_answer_that_comes_back_as_history_is_the_item_it_was(items: list[dict[str, Any]]):
    turn = turn_of()
    told = API.complete(turn, [ended(output=items)["response"]])["choices"][0]["message"]
    history = turn_of(messages=[{"role": "user", "content": "hi"}, told]).body["input"][1:]
    calls = [item for item in items if item["type"] != "message"]
    texts = [part for item in items if item["type"] == "message" for part in item["content"]]
    assert [item for item in history if item["type"] != "message"] == calls
    said = [part for item in history if item["type"] == "message" for part in item["content"]]
    assert sorted(map(str, said)) == sorted(map(str, texts))
