"""A refusal that names its reason is fixed by exactly one change."""

from typing import Any

import pytest

from codexproxy.errors import Overloaded, ProxyError, UpstreamRejected
from codexproxy.planning.instructions import NEUTRAL_INSTRUCTIONS
from codexproxy.planning.model_catalog import ModelSpec
from codexproxy.protocol.request import Turn
from codexproxy.upstream.router.request_fixer import is_general, kind_of
from codexproxy.upstream.router.request_fixes import RequestFix, apply_fix, fix_for

CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
USER = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "hi", "prompt_cache_breakpoint": 1}],
}
BODY: dict[str, Any] = {
    "model": "m",
    "input": [USER, CALL],
    "instructions": "mine",
    "text": {"verbosity": "low", "format": {"type": "text"}},
    "reasoning": {"effort": "xhigh", "summary": "auto"},
    "service_tier": "priority",
}


def refused(message: str, param: str | None = None) -> ProxyError:
    return UpstreamRejected(message, param=param)


def fixed(error: ProxyError, body: dict[str, Any] | None = None) -> dict[str, Any]:
    fix = fix_for(error)
    assert fix is not None
    turn = apply_fix(Turn("m", body or BODY), fix, lambda slug: f"official of {slug}")
    assert turn is not None
    assert turn.adapted == (f"healed:{fix}",)
    return turn.body


def test_an_unsupported_parameter_is_dropped_and_nothing_else() -> None:
    assert fixed(refused("Unsupported parameter: service_tier")) == {
        k: v for k, v in BODY.items() if k != "service_tier"
    }
    assert fixed(refused("Unsupported parameter: 'text.verbosity'"))["text"] == {"format": {"type": "text"}}
    content = fixed(refused("Unsupported parameter: prompt_cache_breakpoint"))["input"][0]["content"]
    assert content == [{"type": "input_text", "text": "hi"}]


def test_what_is_left_empty_goes_too() -> None:
    body = fixed(refused("Unsupported parameter: text.verbosity"), {**BODY, "text": {"verbosity": "low"}})
    assert "text" not in body


def test_instructions_that_are_not_valid_give_way_to_the_official_ones() -> None:
    body = fixed(refused("Instructions are not valid"))
    assert body["instructions"] == "official of m"
    assert body["input"][0] == {
        "type": "message",
        "role": "developer",
        "content": [{"type": "input_text", "text": "mine"}],
    }
    assert body["input"][1:] == BODY["input"]


def test_instructions_that_are_required_are_one_neutral_sentence() -> None:
    body = fixed(refused("Instructions are required"), {**BODY, "instructions": ""})
    assert body == {**BODY, "instructions": NEUTRAL_INSTRUCTIONS}


def test_an_effort_that_is_refused_becomes_the_nearest_of_those_named() -> None:
    message = "Unsupported value: 'xhigh' is not supported with the 'm' model. Supported values are: 'low', 'medium', and 'high'."
    assert fixed(refused(message, "reasoning.effort"))["reasoning"] == {"effort": "high", "summary": "auto"}


def test_a_refused_value_that_can_be_done_without_is_dropped() -> None:
    assert "verbosity" not in fixed(refused("Unsupported value: 'low'", "text.verbosity"))["text"]


@pytest.mark.parametrize(
    "message",
    [
        "No tool output found for function call call_1.",
        "No tool call found for function call output with call_id call_1.",
    ],
)
def test_an_orphan_is_taken_out_and_not_remembered(message: str) -> None:
    assert fixed(refused(message))["input"] == [USER]
    fix = fix_for(refused(message))
    assert fix is not None and not fix.is_permanent


@pytest.mark.parametrize(
    "error",
    [refused("Something else"), Overloaded("busy"), refused("Unsupported value", "model"), refused("", "input[0]")],
)
def test_other_refusals_ask_for_nothing(error: ProxyError) -> None:
    assert fix_for(error) is None


@pytest.mark.parametrize("path", ["model", "input", "stream", "unknown", "text.unknown"])
def test_what_cannot_be_dropped_fixes_nothing(path: str) -> None:
    turn = Turn("m", {**BODY, "input": []})
    assert apply_fix(turn, RequestFix("drop", path), str) is None


TURN = Turn("m", {**BODY, "text": {"verbosity": "low"}})
SPEC = ModelSpec("m", efforts=("low", "xhigh"))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("text.verbosity", "bogus"),
        ("text.verbosity", {"a": 1}),
        ("service_tier", "flex"),
        ("service_tier", ["priority"]),
        ("reasoning.summary", 7),
        ("reasoning.effort", "ultra"),
        ("tools", []),
        ("instructions", "mine"),
        ("content", "mine"),
    ],
)
def test_a_refused_value_that_the_catalogue_does_not_allow_teaches_nothing(path: str, value: object) -> None:
    first, _, rest = path.partition(".")
    turn = Turn("m", {**BODY, first: {rest: value} if rest else value})
    assert not is_general(RequestFix("drop", path), turn, SPEC)


@pytest.mark.parametrize("path", ["text.verbosity", "text", "service_tier", "reasoning", "reasoning.effort"])
def test_an_unsupported_field_with_a_value_of_the_catalogue_is_fixed_for_all_such_turns(path: str) -> None:
    assert is_general(RequestFix("drop", path), TURN, SPEC)
    assert not is_general(RequestFix("drop", path, is_permanent=False), TURN, SPEC)


@pytest.mark.parametrize(
    "change",
    [
        {"text": {"verbosity": "high"}},
        {"text": {"format": {"type": "text"}, "verbosity": "low"}, "tools": [{"type": "web_search"}]},
        {"reasoning": {"effort": "low"}},
        {"include": []},
    ],
)
def test_turns_with_other_fields_tools_effort_or_value_are_of_another_kind(change: dict[str, Any]) -> None:
    drop = RequestFix("drop", "text.verbosity")
    assert kind_of(TURN, drop) != kind_of(Turn("m", {**TURN.body, **change}), drop)
    assert kind_of(TURN, drop) == kind_of(Turn("m", {**TURN.body, "input": [], "instructions": "else"}), drop)


def test_instructions_of_other_words_are_of_another_kind() -> None:
    exact = RequestFix("official_instructions")
    assert kind_of(TURN, exact) != kind_of(Turn("m", {**TURN.body, "instructions": "else"}), exact)
