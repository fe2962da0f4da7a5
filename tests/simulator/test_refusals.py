"""Every rule of the upstream has a turn that breaks it: refused while the rule is on, let through while it is off."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from codexproxy.simulator.rules import RULES
from tests.simulator.talk import Talker

Json = dict[str, Any]

USER = {"role": "user", "content": "hi"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "done"}


def tool(**changes: Any) -> Json:
    schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    return {"type": "function", "name": "f", "parameters": schema, **changes}


@dataclass
class Case:
    """One way to break a rule, and what upstream says to it."""

    rule: str
    message: str
    change: Json = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    status: int = 400
    param: str | None = None
    code: str | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    survives: bool = True

    def __str__(self) -> str:
        return f"{self.rule}-{self.message[:30]}"


CASES = [
    Case("instructions_required", "Instructions are required", drop=("instructions",)),
    Case("instructions_required", "Instructions are required", {"instructions": None}),
    Case("instructions_required", "Instructions are required", {"instructions": ["no string"]}),
    Case("instructions_non_empty", "Instructions are required", {"instructions": ""}),
    Case("store_must_be_false", "Store must be set to false", drop=("store",)),
    Case("store_must_be_false", "Store must be set to false", {"store": True}),
    Case("stream_must_be_true", "Stream must be set to true", drop=("stream",)),
    Case("stream_must_be_true", "Stream must be set to true", {"stream": False}),
    Case("input_must_be_list", "Input must be a list", {"input": "hi"}),
    Case("input_must_be_list", "Input must be a list", drop=("input",)),
    Case(
        "system_messages_not_allowed",
        "System messages are not allowed",
        {"input": [{"role": "system", "content": "x"}]},
    ),
    *[
        Case("unsupported_parameter", f"Unsupported parameter: {name}", {name: 1})
        for name in (
            "max_output_tokens temperature top_p user metadata truncation previous_response_id max_tokens "
            "max_completion_tokens stop n seed logprobs logit_bias presence_penalty stream_options background "
            "prompt_cache_retention context_management safety_identifier session_id"
        ).split()
    ],
    Case("service_tier_supported", "Unsupported service_tier: auto", {"service_tier": "auto"}),
    Case("service_tier_supported", "Unsupported service_tier: flex", {"service_tier": "flex"}),
    Case(
        "model_supported",
        "The 'gpt-3' model is not supported when using Codex with a ChatGPT account.",
        {"model": "gpt-3"},
    ),
    Case("model_supported", "The '' model is not supported when using Codex with a ChatGPT account.", drop=("model",)),
    Case(
        "effort_supported",
        "Unsupported value: 'max' is not supported with the 'gpt-5.5' model. "
        "Supported values are: 'low', 'medium', 'high', and 'xhigh'.",
        {"reasoning": {"effort": "max"}},
        param="reasoning.effort",
        code="unsupported_value",
    ),
    Case(
        "effort_supported",
        "Unsupported value: 'low' is not supported with the 'gpt-5.1-codex-mini' model. "
        "Supported values are: 'medium' and 'high'.",
        {"model": "gpt-5.1-codex-mini", "reasoning": {"effort": "low"}},
        param="reasoning.effort",
        code="unsupported_value",
    ),
    Case(
        "verbosity_supported",
        "Unsupported value: 'low' is not supported with the 'gpt-5.1-codex-max' model. Supported values are: 'medium'.",
        {"model": "gpt-5.1-codex-max", "text": {"verbosity": "low"}},
        param="text.verbosity",
        code="unsupported_value",
    ),
    Case(
        "item_shape",
        "Missing required parameter: 'input[1].call_id'.",
        {"input": [USER, {"type": "function_call", "name": "f", "arguments": ""}]},
        param="input[1].call_id",
        code="missing_required_parameter",
        survives=False,
    ),
    Case(
        "item_shape",
        "Invalid type for 'input[0].arguments': expected a string, but got an object instead.",
        {"input": [{**CALL, "arguments": {}}, OUTPUT]},
        param="input[0].arguments",
        code="invalid_type",
    ),
    Case(
        "item_shape",
        "Invalid value: 'tool'. Supported values are: 'assistant', 'system', 'developer', and 'user'.",
        {"input": [{"role": "tool", "content": "x"}]},
        param="input[0].role",
        code="invalid_value",
    ),
    Case("tool_pairing", "No tool output found for function call call_1.", {"input": [USER, CALL]}, param="input"),
    Case(
        "tool_pairing",
        "No tool call found for function call output with call_id call_1.",
        {"input": [USER, OUTPUT]},
        param="input",
    ),
    Case(
        "content_types",
        "Invalid value: 'input_text'. Supported values are: 'output_text' and 'refusal'.",
        {"input": [USER, {"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]},
        param="input[1].content[0]",
        code="invalid_value",
    ),
    Case(
        "content_types",
        "Invalid value: 'text'. Supported values are: 'input_text', 'input_image', and 'input_file'.",
        {"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        param="input[0].content[0]",
        code="invalid_value",
    ),
    Case(
        "content_types",
        "Invalid value: 'output_text'. Supported values are: 'input_text', 'input_image', and 'input_file'.",
        {"input": [CALL, {**OUTPUT, "output": [{"type": "output_text", "text": "x"}]}]},
        param="input[1].output[0]",
        code="invalid_value",
    ),
    Case(
        "item_ids",
        "Invalid 'input[0].id': 'call_1'. Expected an ID that begins with 'fc'.",
        {"input": [{**CALL, "id": "call_1"}, OUTPUT]},
        param="input[0].id",
        code="invalid_value",
    ),
    Case(
        "not_persisted",
        "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false. "
        "Try again with `store` set to true, or remove this item from your input.",
        {"input": [USER, {"type": "reasoning", "id": "rs_1", "summary": []}]},
        status=404,
        param="input",
    ),
    Case(
        "not_persisted",
        "Item with id 'msg_1' not found. Items are not persisted when `store` is set to false. "
        "Try again with `store` set to true, or remove this item from your input.",
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        status=404,
        param="input",
    ),
    Case(
        "cache_breakpoint_refused",
        "prompt_cache_breakpoint is not supported on this model",
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "x", "prompt_cache_breakpoint": {}}]}]},
        param="input[0]",
    ),
    Case(
        "tool_shape",
        "Missing required parameter: 'tools[0].name'.",
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        param="tools[0].name",
        code="missing_required_parameter",
    ),
    Case(
        "tool_shape",
        "Missing required parameter: 'tools[0].tools[0].name'.",
        {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}]},
        param="tools[0].tools[0].name",
        code="missing_required_parameter",
    ),
    Case(
        "strict_schemas",
        "Invalid schema for function 'f': In context=(), 'additionalProperties' is required to be supplied and to be false.",
        {"tools": [tool(strict=True, parameters={"type": "object", "properties": {}})]},
        param="tools[0].parameters",
        code="invalid_function_parameters",
    ),
    Case(
        "strict_schemas",
        "Invalid schema for response_format 'r': In context=('properties', 'a'), 'required' is required to be supplied "
        "and to be an array including every key in properties. Missing 'b'.",
        {
            "text": {
                "format": {
                    "type": "json_schema",
                    "name": "r",
                    "strict": True,
                    "schema": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["a"],
                        "properties": {
                            "a": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {"b": {"type": "string"}},
                            }
                        },
                    },
                }
            }
        },
        param="text.format.schema",
        code="invalid_json_schema",
    ),
    Case(
        "json_word",
        "Response input messages must contain the word 'json' in some form to use 'text.format' of type 'json_object'.",
        {"text": {"format": {"type": "json_object"}}},
        param="input",
    ),
    Case(
        "lite_header_checks",
        "This model is not supported when using X-OpenAI-Internal-Codex-Responses-Lite.",
        {"model": "gpt-5.5"},
        param="model",
        code="unsupported_value",
        headers={"x_openai_internal_codex_responses_lite": "true"},
    ),
    Case(
        "lite_header_checks",
        "X-OpenAI-Internal-Codex-Responses-Lite only supports function tools, custom tools, "
        "and client-executed tool search.",
        {"model": "gpt-6-sol", "reasoning": {"context": "all_turns"}, "tools": [{"type": "web_search"}]},
        param="tools",
        code="unsupported_value",
        headers={"x_openai_internal_codex_responses_lite": "true"},
    ),
    Case(
        "lite_shape_required",
        "Model not found gpt-6-sol",
        {"model": "gpt-6-sol"},
        status=404,
        param="model",
        code="model_not_found",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_turn_that_breaks_a_rule_is_refused_in_upstreams_words(talker: Talker, case: Case) -> None:
    talker.sim.rules(**{case.rule: True})

    answer = talker.turn(case.drop, case.headers, **case.change)

    assert answer.status == case.status
    if "error" in answer.json:
        error = answer.json["error"]
        assert error == {
            "message": case.message,
            "type": "invalid_request_error",
            "param": case.param,
            "code": case.code,
        }
    else:
        assert answer.json == {"detail": case.message}
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("case", [case for case in CASES if case.survives], ids=str)
def test_the_same_turn_passes_while_the_rule_is_off(talker: Talker, case: Case) -> None:
    talker.sim.rules(**{case.rule: False})

    answer = talker.turn(case.drop, case.headers, **case.change)

    assert (answer.status, answer.types[-1]) == (200, "response.completed")


def test_an_empty_instructions_string_is_accepted_by_default(talker: Talker) -> None:
    assert talker.turn(instructions="").status == 200


def test_the_exact_prompt_check_compares_byte_for_byte(talker: Talker) -> None:
    talker.sim.settings(official_instructions="You are Codex.\n")
    talker.sim.rules(instructions_exact=True)

    assert talker.turn(instructions="You are Codex.").json == {"detail": "Instructions are not valid"}
    assert talker.turn(instructions="You are Codex.\n").status == 200


def test_everything_the_real_client_sends_is_accepted(talker: Talker) -> None:
    answer = talker.turn(
        tools=[
            tool(strict=False),
            {
                "type": "custom",
                "name": "apply_patch",
                "format": {"type": "grammar", "syntax": "lark", "definition": "s"},
            },
            {"type": "namespace", "name": "image_gen", "tools": [tool()]},
            {"type": "tool_search", "execution": "client"},
            {"type": "web_search", "external_web_access": False, "search_content_types": ["text", "image"]},
        ],
        tool_choice="auto",
        parallel_tool_calls=True,
        reasoning={"effort": "medium", "summary": "auto"},
        include=["reasoning.encrypted_content"],
        prompt_cache_key="00000000-0000-4000-8000-000000000000",
        text={"verbosity": "low"},
        service_tier="priority",
        client_metadata={"session_id": "x"},
        input=[
            {"type": "additional_tools", "id": "at_1", "role": "developer", "tools": [tool()]},
            {"type": "message", "id": "msg_1", "role": "developer", "content": [{"type": "input_text", "text": "x"}]},
            {
                "role": "user",
                "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "auto"}],
            },
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": "gAAAAAB"},
            {**CALL, "id": "fc_1"},
            {**OUTPUT, "id": "fco_1"},
            {
                "type": "custom_tool_call",
                "id": "ctc_1",
                "call_id": "call_2",
                "name": "exec",
                "namespace": "n",
                "input": "x",
            },
            {"type": "custom_tool_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "y"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "z"}]},
            {"role": "user", "content": "go on"},
        ],
    )

    assert (answer.status, answer.types[-1]) == (200, "response.completed")


def test_foreign_encrypted_reasoning_is_refused_only_under_its_rule(talker: Talker) -> None:
    talker.sim.rules(invalid_encrypted_content=True)
    own = talker.turn(reasoning={"effort": "low"}, include=["reasoning.encrypted_content"]).events
    reasoning = next(e["item"] for e in own if e["type"] == "response.output_item.done")
    replayed = {"input": [{"role": "user", "content": "hi"}, reasoning, {"role": "user", "content": "more"}]}

    other = Talker(talker.sim)
    assert talker.turn(**replayed).status == 200
    assert other.turn(**replayed).json["error"]["code"] == "invalid_encrypted_content"
    assert talker.turn(**replayed, model="gpt-5.2").json["error"]["code"] == "invalid_encrypted_content"
    talker.sim.rules(invalid_encrypted_content=False)
    assert other.turn(**replayed).status == 200


@pytest.mark.parametrize(
    ("rules", "status", "body"),
    [
        ({"challenge_html": True}, 403, b"Just a moment..."),
        ({"deactivated": True}, 402, b'{"detail":{"code":"deactivated_workspace"}}'),
        ({"overload_503": True}, 503, b'{"error":{"code":"server_is_overloaded"}}'),
        ({"overload_503": {"code": "slow_down"}}, 503, b'{"error":{"code":"slow_down"}}'),
        ({"server_error_500": {"status": 502}}, 502, b'"server_error"'),
        ({"usage_limit": True}, 429, b'"type":"usage_limit_reached"'),
        ({"usage_limit": {"variant": 404}}, 404, b'"resets_in_seconds":9000'),
        ({"usage_limit": {"type": "usage_not_included"}}, 429, b'"type":"usage_not_included"'),
    ],
)
def test_refusals_that_do_not_depend_on_the_turn(talker: Talker, rules: Json, status: int, body: bytes) -> None:
    talker.sim.rules(**rules)

    answer = talker.turn()

    assert answer.status == status
    assert body in answer.body


def test_a_usage_limit_can_hide_in_a_200(talker: Talker) -> None:
    talker.sim.rules(usage_limit={"variant": "in_stream"})

    answer = talker.turn()

    assert (answer.status, answer.types) == (200, ["response.created", "response.in_progress", "error"])
    assert answer.events[-1]["error"]["type"] == "usage_limit_reached"


@pytest.mark.parametrize(
    ("rule", "last"),
    [
        ({}, {"type": "response.failed", "code": "server_is_overloaded"}),
        ({"event": "error", "code": "slow_down"}, {"type": "error", "code": "slow_down"}),
    ],
)
def test_an_overload_can_hide_in_a_200(talker: Talker, rule: Json, last: Json) -> None:
    talker.sim.rules(overload_in_200={"times": 1, **rule})

    refused, accepted = talker.turn(), talker.turn()

    event = refused.events[-1]
    assert refused.status == 200
    assert {"type": event["type"], "code": (event.get("error") or event["response"]["error"])["code"]} == last
    assert accepted.types[-1] == "response.completed"


@pytest.mark.parametrize(("option", "header"), [({}, None), ({"retry_after": 1}, "1"), ({"retry_after": 0.5}, "0.5")])
def test_a_short_limit_says_when_to_come_back_only_if_told_to(talker: Talker, option: Json, header: str | None) -> None:
    talker.sim.rules(rate_limit_short=option)

    answer = talker.turn()

    assert (answer.status, answer.headers.get("retry-after")) == (429, header)


def test_bad_tokens_are_refused_in_upstreams_words(talker: Talker) -> None:
    expired = Talker(talker.sim, talker.sim.login(lifetime=-1))
    revoked = Talker(talker.sim)
    talker.sim.revoke(revoked.tokens["access_token"])

    assert expired.turn().json["error"]["code"] == "token_expired"
    answer = revoked.turn()
    assert answer.json["error"]["code"] == "token_invalidated"
    assert answer.headers["x-openai-ide-error-code"] == "token_invalidated"
    assert talker.turn(headers={"authorization": None}).json == {"detail": "Unauthorized"}
    assert talker.turn(headers={"authorization": "Bearer a.b.c"}).json == {"detail": "Unauthorized"}
    unreadable = talker.turn(headers={"authorization": "Bearer nonsense"})
    assert unreadable.json["detail"].startswith("Could not parse your authentication token")
    assert talker.turn(headers={"chatgpt_account_id": "another"}).status == 401
    assert talker.turn(headers={"chatgpt_account_id": None}).status == 401
    talker.sim.rules(authorization=False)
    assert talker.turn(headers={"authorization": None}).status == 200


def test_a_bare_library_is_turned_away_only_under_its_rule(talker: Talker) -> None:
    library: dict[str, str | None] = {"user_agent": "python-requests/2.32"}
    assert talker.turn(headers=library).status == 200
    talker.sim.rules(user_agent_like_codex=True)
    assert talker.turn(headers=library).status == 403
    assert talker.turn().status == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"text"', b"\xff"])
def test_garbage_is_answered_with_400_not_with_silence(talker: Talker, body: bytes) -> None:
    assert talker.request("POST", "/backend-api/codex/responses", body).status == 400


def test_a_rule_can_be_meant_for_marked_requests_only(talker: Talker) -> None:
    talker.sim.rules(overload_503={"match": "marker-1"})

    assert talker.turn(instructions="marker-1").status == 503
    assert talker.turn(instructions="marker-2").status == 200


def test_every_rule_that_refuses_turns_has_a_test_here() -> None:
    tested = {case.rule for case in CASES}
    elsewhere = {"authorization", "account_id_must_match", "user_agent_like_codex", "instructions_exact"}
    elsewhere |= {"overload_503", "overload_in_200", "server_error_500", "usage_limit", "rate_limit_short"}
    elsewhere |= {"challenge_html", "deactivated", "invalid_encrypted_content"}
    names = list(RULES)
    assert tested | elsewhere == set(names[: names.index("empty_final_output")])
