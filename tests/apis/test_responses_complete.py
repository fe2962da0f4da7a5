"""The final Response object."""

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.protocol.aggregate import aggregate
from codexproxy.protocol.request import Caller
from tests.apis.recorded import Recording, each_recording
from tests.data import SCHEMAS

# The schema lists fewer error codes than real traffic has (tests/data/README.md).
KNOWN_DISAGREEMENTS = {"error_then_failed_quota": ["$.error"]}


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / "Response.json").read_text()))


def complaints(response: dict[str, Any]) -> list[str]:
    return [error.json_path for error in validator().iter_errors(response)]


def complete(response: dict[str, Any], **payload: Any) -> dict[str, Any]:
    api = ResponsesApi()
    turn = api.parse({"model": "my-model", "input": "hi", **payload}, Caller())
    return api.complete(turn, [response])


@each_recording()
def test_a_recorded_answer_is_complete_and_valid(recording: Recording):
    response = complete(aggregate([recording.events()]))
    assert complaints(response) == KNOWN_DISAGREEMENTS.get(recording.name, [])
    assert response["model"] == "my-model" and response["id"] == recording.expected["response_id"]
    assert response["status"] == recording.expected["status"]
    assert [item["type"] for item in response["output"]] == recording.expected["output_item_types"]
    assert _text(response) == recording.expected["output_text"]
    assert (response.get("usage") or {}).get("total_tokens") == (recording.expected["usage"] or {}).get("total_tokens")


def _text(response: dict[str, Any]) -> str:
    messages = [item for item in response["output"] if item["type"] == "message"]
    return "".join(part.get("text", "") for message in messages for part in message["content"])


def test_an_answer_of_which_upstream_said_nearly_nothing_is_valid_all_the_same():
    answer = {
        "id": "resp_2",
        "output": [
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
            {"type": "reasoning", "summary": [], "content": None, "encrypted_content": "gA"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        ],
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }
    response = complete(answer, metadata={"a": "b"}, tools=[], instructions="Be brief.", max_output_tokens=50)
    assert complaints(response) == []
    assert response["usage"]["total_tokens"] == 7
    assert [item["id"][:3] for item in response["output"]] == ["msg", "rs_", "fc_"]
    assert (response["metadata"], response["instructions"], response["max_output_tokens"]) == (
        {"a": "b"},
        "Be brief.",
        50,
    )


def test_what_a_call_holds_is_text_also_where_upstream_sent_an_object():
    response = complete({"output": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {"a": [1]}}]})
    assert complaints(response) == []
    assert response["output"][0]["arguments"] == '{"a":[1]}'


def test_nothing_at_all_is_dressed_as_a_valid_object():
    assert complaints(complete({})) == []


def test_upstreams_word_counts_and_the_request_fills_its_gaps():
    upstream = {"id": "r", "instructions": "Family prompt.", "tools": [], "temperature": 1.0, "user": None}
    tool = {"type": "function", "name": "f", "parameters": {}, "strict": True}
    response = complete(upstream, instructions="Mine.", tools=[tool], temperature=0.2, user="u1")
    assert response["instructions"] == "Mine."
    assert response["tools"] == [tool]
    assert response["temperature"] == 1.0
    assert response["user"] == "u1"


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "id"]), inner),
    max_leaves=8,
)
_NAMES = ("id", "output", "usage", "text", "tools", "model", "created_at", "metadata")
_ITEMS = st.lists(st.fixed_dictionaries({"type": st.sampled_from(["message", "reasoning"]), "content": _VALUES}))
_USAGE = st.dictionaries(st.sampled_from(["input_tokens", "input_tokens_details", "total_tokens"]), _VALUES)


@given(
    st.dictionaries(st.sampled_from(_NAMES), _VALUES),
    st.fixed_dictionaries({}, optional={"output": _ITEMS, "usage": _USAGE}),
)
def test_whatever_upstream_says_an_object_comes_of_it(odd: dict[str, Any], odder: dict[str, Any]):
    response = complete({**odd, **odder})
    assert response["id"] and response["model"] == "my-model" and isinstance(response["output"], list)


@pytest.mark.parametrize(("asked", "told"), [(None, True), (True, True), (False, False)])
def test_store_is_told_as_on_the_platform(asked: bool | None, told: bool):
    assert complete({"id": "r", "store": False}, store=asked)["store"] is told


def test_the_continued_response_is_named():
    response = complete({"id": "r", "previous_response_id": None}, previous_response_id="resp_0")
    assert response["previous_response_id"] == "resp_0"
