"""Every parameter over real HTTP: what upstream is sent of it, and what the caller is told.

One row per field of the API formats' tables, ``API formats/*/fields.py``, from which
``docs/compatibility.md`` is made: a fate that is claimed there is shown here.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from codexproxy.apis import openai_completions
from codexproxy.apis.openai_chat import fields as chat
from codexproxy.apis.openai_responses import fields as responses
from codexproxy.simulator.client import SimulatorClient
from tests.service import Answer, Service

CHAT, RESPONSES, COMPLETIONS = "/v1/chat/completions", "/v1/responses", "/v1/completions"
HELLO = [{"role": "user", "content": "hi"}]
ASKS: dict[str, dict[str, Any]] = {
    CHAT: {"model": "gpt-5.2", "messages": HELLO},
    RESPONSES: {"model": "gpt-5.2", "input": "hi"},
    COMPLETIONS: {"model": "gpt-5.2", "prompt": "hi"},
}
KEY = "01999999-0000-7000-8000-000000000001"

EMPTY = {"type": "object", "properties": {}}
FUNCTION = {"name": "look", "parameters": EMPTY}
TOOL = {"type": "function", "function": FUNCTION}
FLAT = {"type": "function", **FUNCTION}

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Case(NamedTuple):
    """A value that asks for something.

    Attributes:
        value: Of the field.
        needs: Further fields without which it would mean nothing.
        sent: Dotted path in the upstream's body -> what stands there; a None must be absent.
        told: Text in ``x-codexproxy-adapted``.
        shows: Text in the answer.
    """

    value: Any
    needs: Mapping[str, Any] = NOTHING
    sent: Mapping[str, Any] = NOTHING
    told: str = ""
    shows: str = ""


CHAT_CASES = {
    "model": Case("gpt-5.2-high", sent={"model": "gpt-5.2", "reasoning.effort": "high"}, shows='"gpt-5.2-high"'),
    "messages": Case(HELLO, sent={"input.0.content.0": {"type": "input_text", "text": "hi"}}),
    "stream": Case(True, sent={"stream": True}, shows="data: [DONE]"),
    "tools": Case([TOOL], sent={"tools.0.name": "look", "tool_choice": "auto"}),
    "tool_choice": Case("none", {"tools": [TOOL]}, {"tool_choice": "none"}),
    "parallel_tool_calls": Case(False, {"tools": [TOOL]}, {"parallel_tool_calls": False}),
    "functions": Case([FUNCTION], sent={"tools.0.type": "function", "parallel_tool_calls": False}),
    "function_call": Case("none", {"functions": [FUNCTION]}, {"tool_choice": "none"}),
    "response_format": Case(
        {"type": "json_object"}, {}, {"text.format.type": "json_object"}, "response_format:json_reminder"
    ),
    "reasoning_effort": Case("low", sent={"reasoning.effort": "low"}),
    "verbosity": Case("low", sent={"text.verbosity": "low"}),
    "service_tier": Case("fast", sent={"service_tier": "priority"}),
    "web_search_options": Case(
        {"search_context_size": "low"}, {}, {"tools.0": {"type": "web_search", "search_context_size": "low"}}
    ),
    "prompt_cache_key": Case(KEY, sent={"prompt_cache_key": KEY}),
    "stop": Case("simulated", sent={"stop": None}, told="stop:emulated", shows='"finish_reason":"stop"'),
    "max_tokens": Case(1, {}, {"max_tokens": None}, "max_tokens:emulated", '"finish_reason":"length"'),
    "max_completion_tokens": Case(
        1, {}, {"max_completion_tokens": None}, "max_tokens:emulated", '"finish_reason":"length"'
    ),
    "n": Case(2, sent={"n": None}, shows='"index":1'),
    "stream_options": Case(
        {"include_usage": True}, {"stream": True}, {"stream_options": None}, shows='"choices":[],"usage":{'
    ),
    "metadata": Case({"job": "seven"}, sent={"metadata": None}, shows='"metadata":{"job":"seven"}'),
    "store": Case(True, sent={"store": False}),
    "temperature": Case(0.2),
    "top_p": Case(0.5),
    "frequency_penalty": Case(1),
    "presence_penalty": Case(1),
    "logit_bias": Case({"50256": -100}),
    "seed": Case(7),
    "logprobs": Case(True),
    "top_logprobs": Case(3),
    "prediction": Case({"type": "content", "content": "x"}),
    "user": Case("ann"),
    "safety_identifier": Case("ann"),
    "prompt_cache_retention": Case("24h"),
    "prompt_cache_options": Case({"ttl": "30m"}),
    "moderation": Case({"model": "m"}),
    "modalities": Case(["text", "audio"]),
    "audio": Case({"voice": "ash", "format": "mp3"}),
    "input": Case("hi there", {"messages": None}, {"input.0.content.0.text": "hi there"}),
    "instructions": Case("Be brief.", sent={"instructions": "Be brief."}),
    "text": Case({"verbosity": "low"}, sent={"text.verbosity": "low"}),
    "include": Case(["web_search_call.action.sources"], sent={"include.0": "web_search_call.action.sources"}),
    "max_output_tokens": Case(1, {}, {"max_output_tokens": None}, "max_tokens:emulated", '"finish_reason":"length"'),
    "previous_response_id": Case("resp_1"),
    "conversation": Case("conv_1"),
    "background": Case(True),
    "truncation": Case("other"),
    "max_tool_calls": Case(3),
    "context_management": Case([{"type": "compaction"}]),
    "prompt": Case({"id": "pmpt_1"}),
    "client_metadata": Case({"a": "b"}, sent={"client_metadata": {"a": "b"}}),
    "reasoning": Case({"effort": "low"}, sent={"reasoning.effort": "low"}),
    "reasoning_summary": Case("detailed", sent={"reasoning.summary": "detailed"}),
    "reasoning_compat": Case("think", sent={"reasoning_compat": None}),
    "include_reasoning": Case(False, sent={"include_reasoning": None}),
    "thinking": Case({"type": "enabled", "budget_tokens": 999}, sent={"reasoning.effort": "low"}),
    "enable_thinking": Case(False, sent={"reasoning.effort": "none"}),
    "top_k": Case(40),
    "min_p": Case(0.1),
    "top_a": Case(0.1),
    "repetition_penalty": Case(1.1),
    "best_of": Case(3),
    "chat_template_kwargs": Case({"a": 1}),
}

COMPLETIONS_CASES = {
    **{name: CHAT_CASES[name] for name in openai_completions.FIELDS.keys() & CHAT_CASES.keys()},
    "prompt": Case(["once", "twice"], sent={"input.0.content.0.type": "input_text"}, shows='"index":1'),
    "suffix": Case("the end", sent={"suffix": None}),
    "echo": Case(True, sent={"echo": None}, shows='"text":"hi'),
    "logprobs": Case(3),
}

RESPONSES_CASES = {
    **{name: CHAT_CASES[name] for name in responses.FIELDS.keys() & CHAT_CASES.keys()},
    "input": Case("hi there", sent={"input.0.content.0.text": "hi there"}),
    "tools": Case([FLAT], sent={"tools.0.name": "look", "tool_choice": "auto"}),
    "tool_choice": Case("none", {"tools": [FLAT]}, {"tool_choice": "none"}),
    "parallel_tool_calls": Case(False, {"tools": [FLAT]}, {"parallel_tool_calls": False}),
    "stream": Case(True, sent={"stream": True}, shows="event: response.completed"),
    "store": Case(False, sent={"store": False}),
    "background": Case(True),
    "previous_response_id": Case("resp_1"),
    "max_output_tokens": Case(1, sent={"max_output_tokens": None}, shows='"reason":"max_output_tokens"'),
    "stream_options": Case({"include_obfuscation": False}, {"stream": True}),
    "prompt": Case({"id": "pmpt_1"}),
}

ROUTES: dict[str, tuple[Any, dict[str, Case]]] = {
    CHAT: (chat.FIELDS, CHAT_CASES),
    RESPONSES: (responses.FIELDS, RESPONSES_CASES),
    COMPLETIONS: (openai_completions.FIELDS, COMPLETIONS_CASES),
}


def fate_of(field: Any) -> str:
    """``mapped``, ``emulated``, ``ignored`` or ``refused``."""
    return str(getattr(field.fate, "name", field.fate)).lower()


# These need a stored response, or make one; the tests of stored responses show them.
STORED = {(RESPONSES, "previous_response_id"), (RESPONSES, "background")}


def rows(*fates: str) -> Any:
    """Route, field and case of every field with one of these fates."""
    found = [
        pytest.param(route, name, cases[name], id=f"{route.removeprefix('/v1/')}-{name}")
        for route, (table, cases) in ROUTES.items()
        for name, field in table.items()
        if fate_of(field) in fates and (route, name) not in STORED
    ]
    return pytest.mark.parametrize(("route", "name", "case"), found)


def asked(route: str, name: str, case: Case) -> dict[str, Any]:
    return {**ASKS[route], **case.needs, name: case.value}


def at(body: Any, path: str) -> Any:
    """What stands at a dotted path; None where there is nothing."""
    for step in path.split("."):
        if isinstance(body, list):
            body = body[int(step)] if int(step) < len(body) else None
        else:
            body = body.get(step) if isinstance(body, dict) else None
    return body


def listed(answer: Answer, header: str) -> list[str]:
    return [entry for entry in answer.headers.get(header, "").split(",") if entry]


def post(service: Service, route: str, body: dict[str, Any]) -> Answer:
    answer = service.post(route, body)
    assert answer.status == 200, answer.body
    return answer


def test_every_field_of_the_tables_has_a_case() -> None:
    for table, cases in ROUTES.values():
        assert cases.keys() == table.keys()


@rows("mapped", "emulated")
def test_an_honoured_field_arrives_or_is_done_here_and_is_not_reported_as_ignored(
    service: Service, sim: SimulatorClient, route: str, name: str, case: Case
) -> None:
    answer = post(service, route, asked(route, name, case))
    assert listed(answer, "x-codexproxy-ignored") == []
    sent = sim.last_turn()["json"]
    assert {path: at(sent, path) for path in case.sent} == dict(case.sent)
    assert case.told in answer.headers.get("x-codexproxy-adapted", "")
    assert case.shows in answer.body.decode()


@rows("ignored")
def test_an_ignored_field_is_named_and_changes_nothing_upstream(
    service: Service, sim: SimulatorClient, route: str, name: str, case: Case
) -> None:
    post(service, route, {**ASKS[route], **case.needs})
    plain = sim.last_turn()["json"]
    answer = post(service, route, asked(route, name, case))
    assert listed(answer, "x-codexproxy-ignored") == [name]
    assert "x-codexproxy-adapted" not in answer.headers
    assert sim.last_turn()["json"] == plain


@rows("refused")
def test_a_refused_field_is_a_reasoned_error_and_nothing_is_sent(
    service: Service, sim: SimulatorClient, route: str, name: str, case: Case
) -> None:
    answer = service.post(route, asked(route, name, case))
    error = answer.json["error"]
    assert (answer.status, error["type"], error["param"]) == (400, "invalid_request_error", name)
    assert error["code"] in ("unsupported_content", "unsupported_parameter")
    assert error["message"].endswith(".")
    assert sim.turns() == []


@rows("ignored", "refused", "emulated", "mapped")
def test_what_asks_for_nothing_is_taken_in_silence(
    service: Service, sim: SimulatorClient, route: str, name: str, case: Case
) -> None:
    field = ROUTES[route][0][name]
    for value in (*getattr(field, "neutral", getattr(field, "plain", ())), None):
        if value is None and name in ASKS[route]:
            continue
        answer = post(service, route, {**ASKS[route], name: value})
        assert listed(answer, "x-codexproxy-ignored") == [], value


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("route", ROUTES)
def test_all_that_is_ignored_is_named_at_once(service: Service, route: str, stream: bool) -> None:
    table, cases = ROUTES[route]
    names = [name for name, field in table.items() if fate_of(field) == "ignored" and not cases[name].needs]
    body = {**ASKS[route], **{name: cases[name].value for name in names}, "stream": stream, "wizardry": 1}
    answer = post(service, route, body)
    assert listed(answer, "x-codexproxy-ignored") == [*names, "wizardry"]


@pytest.mark.parametrize("route", ROUTES)
def test_the_dry_run_tells_the_same(service: Service, sim: SimulatorClient, route: str) -> None:
    body = {**ASKS[route], "temperature": 0.2, "reasoning": {"effort": "low"}, "max_tokens": 5}
    dry = service.post(route, body, {"x-codexproxy-dry-run": "1"}).json
    assert sim.turns() == []
    answer = post(service, route, body)
    assert dry["ignored"] == listed(answer, "x-codexproxy-ignored")
    assert dry["adapted"] == listed(answer, "x-codexproxy-adapted")
    assert dry["upstream"][0]["body"] == sim.last_turn()["json"]


@pytest.mark.parametrize("shown", ["reasoning_content", "think", "o3", "none"])
@pytest.mark.parametrize("stream", [True, False])
def test_reasoning_is_shown_as_the_request_says(
    service: Service, sim: SimulatorClient, stream: bool, shown: str
) -> None:
    sim.script({"items": [{"type": "reasoning", "summary": ["Hm."]}, {"type": "message", "text": "yes"}]})
    answer = post(service, CHAT, {**ASKS[CHAT], "reasoning_compat": shown, "stream": stream})
    words = {"reasoning_content": '"reasoning_content":"', "think": "<think>", "o3": '"reasoning":{"content":[{'}
    assert {style for style, text in words.items() if text in answer.body.decode()} == {shown} & words.keys()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("route", "fields", "param", "code"),
    [
        (CHAT, {"reasoning_effort": "banana"}, "reasoning_effort", "invalid_value"),
        (CHAT, {"reasoning": {"effort": "banana"}}, "reasoning.effort", "invalid_value"),
        (CHAT, {"reasoning": {"effort": 3}}, "reasoning.effort", "invalid_type"),
        (CHAT, {"reasoning_effort": 3}, "reasoning_effort", "invalid_type"),
        (CHAT, {"reasoning_summary": "bogus"}, "reasoning.summary", "invalid_value"),
        (COMPLETIONS, {"reasoning_effort": "banana"}, "reasoning_effort", "invalid_value"),
        (RESPONSES, {"reasoning": {"effort": "banana"}}, "reasoning.effort", "invalid_value"),
        (RESPONSES, {"reasoning": {"effort": 3}}, "reasoning.effort", "invalid_type"),
        (RESPONSES, {"reasoning": {"summary": "bogus"}}, "reasoning.summary", "invalid_value"),
    ],
)
def test_an_effort_or_a_summary_that_does_not_exist_is_refused(
    service: Service, sim: SimulatorClient, route: str, fields: dict[str, Any], param: str, code: str, stream: bool
) -> None:
    answer = service.post(route, {**ASKS[route], **fields, "stream": stream})
    assert (answer.status, answer.code, answer.json["error"]["param"]) == (400, code, param)
    assert code == "invalid_type" or "'auto'" in answer.json["error"]["message"] or "'xhigh'" in answer.body.decode()
    assert sim.turns() == []


@pytest.mark.parametrize(
    ("route", "fields", "summary"),
    [
        (RESPONSES, {}, None),
        (RESPONSES, {"reasoning": {"effort": "low"}}, None),
        (RESPONSES, {"reasoning": {"summary": None}}, None),
        (RESPONSES, {"reasoning": {"summary": "concise"}}, "concise"),
        (CHAT, {}, "auto"),
        (CHAT, {"reasoning_summary": "none"}, None),
        (CHAT, {"reasoning": {"summary": "none"}}, None),
    ],
)
def test_a_summary_is_asked_for_on_chat_and_elsewhere_as_the_caller_says(
    service: Service, sim: SimulatorClient, route: str, fields: dict[str, Any], summary: str | None
) -> None:
    post(service, route, {**ASKS[route], **fields})
    assert sim.last_turn()["json"]["reasoning"].get("summary") == summary
