"""The official OpenAI Python SDK against the real service."""

import json
from typing import Any

import openai
import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.clients.relay import Relay
from tests.service import Service, told_wait

MODEL = "gpt-5.2"
ASK: list[Any] = [{"role": "user", "content": "Say hello."}]


def weather(*, strict: bool = False) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    return {"name": "get_weather", "description": "The weather of a city.", "parameters": parameters, "strict": strict}


CHAT_TOOLS: Any = [{"type": "function", "function": weather()}]
RESPONSES_TOOLS: Any = [{"type": "function", **weather()}]


@pytest.fixture
def client(relay: Relay) -> openai.OpenAI:
    return openai.OpenAI(base_url=relay.base_url, api_key="any", max_retries=0)


def test_a_chat_answer(client: openai.OpenAI, sim: SimulatorClient) -> None:
    sim.script({"text": "Hello, dear reader."})
    answer = client.chat.completions.create(model=MODEL, messages=ASK)
    assert answer.choices[0].message.content == "Hello, dear reader."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == MODEL
    assert answer.id.startswith("chatcmpl-codex-")
    assert answer.usage is not None and answer.usage.total_tokens > 0
    assert answer._request_id


def test_a_streamed_chat_answer(client: openai.OpenAI, sim: SimulatorClient) -> None:
    sim.script({"text": "Hello, dear reader."})
    options: Any = {"include_usage": True}
    chunks = list(client.chat.completions.create(model=MODEL, messages=ASK, stream=True, stream_options=options))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello, dear reader."
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage is not None


@pytest.mark.parametrize("stream", [True, False])
def test_a_tool_call_and_back(client: openai.OpenAI, sim: SimulatorClient, stream: bool) -> None:
    ask: list[Any] = [{"role": "user", "content": 'call:get_weather {"city": "Paris"}'}]
    if stream:
        with client.chat.completions.stream(model=MODEL, messages=ask, tools=CHAT_TOOLS) as events:
            message: Any = events.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.create(model=MODEL, messages=ask, tools=CHAT_TOOLS).choices[0].message
    (call,) = message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    said = message.model_dump(exclude_none=True, include={"role", "content", "tool_calls"})
    for spoken in said["tool_calls"]:
        spoken["function"].pop("parsed_arguments", None)
    told = {"role": "tool", "tool_call_id": call.id, "content": "21 degrees and sunny"}
    answer = client.chat.completions.create(model=MODEL, messages=[*ask, said, told], tools=CHAT_TOOLS)
    assert "21 degrees and sunny" in (answer.choices[0].message.content or "")
    sent = sim.last_turn()["json"]["input"]
    assert [item.get("type") for item in sent] == ["message", "function_call", "function_call_output"]
    assert sent[1]["call_id"] == sent[2]["call_id"] == call.id


def parallel_calls() -> dict[str, Any]:
    calls = [
        {"type": "function_call", "name": "get_weather", "arguments": json.dumps({"city": city})}
        for city in ("Paris", "Rome", "Kyoto")
    ]
    return {"items": calls}


@pytest.mark.parametrize("stream", [True, False])
def test_parallel_calls_keep_their_order_and_their_index(
    client: openai.OpenAI, sim: SimulatorClient, stream: bool
) -> None:
    sim.script(parallel_calls())
    ask: list[Any] = [{"role": "user", "content": "Compare the weather."}]
    if stream:
        with client.chat.completions.stream(model=MODEL, messages=ask, tools=CHAT_TOOLS) as events:
            choice: Any = events.get_final_completion().choices[0]
    else:
        choice = client.chat.completions.create(model=MODEL, messages=ask, tools=CHAT_TOOLS).choices[0]
    assert [json.loads(call.function.arguments)["city"] for call in choice.message.tool_calls] == [
        "Paris",
        "Rome",
        "Kyoto",
    ]
    assert len({call.id for call in choice.message.tool_calls}) == 3
    assert choice.finish_reason == "tool_calls"


def test_a_response(client: openai.OpenAI, sim: SimulatorClient) -> None:
    sim.script({"text": "Hello, dear reader."})
    response = client.responses.create(model=MODEL, input="Say hello.")
    assert response.output_text == "Hello, dear reader."
    assert response.status == "completed"
    assert response.model == MODEL
    assert response.usage is not None and response.usage.output_tokens > 0


def test_a_streamed_response(client: openai.OpenAI, sim: SimulatorClient) -> None:
    sim.script({"text": "Hello, dear reader."})
    with client.responses.stream(model=MODEL, input="Say hello.") as stream:
        types = [event.type for event in stream]
        final = stream.get_final_response()
    assert types[0] == "response.created" and types[-1] == "response.completed"
    assert final.output_text == "Hello, dear reader."
    assert final.model == MODEL


def test_a_response_with_a_tool_call_and_back(client: openai.OpenAI) -> None:
    ask: list[Any] = [{"role": "user", "content": 'call:get_weather {"city": "Paris"}'}]
    first = client.responses.create(model=MODEL, input=ask, tools=RESPONSES_TOOLS, store=False)
    calls = [item for item in first.output if item.type == "function_call"]
    assert json.loads(calls[0].arguments) == {"city": "Paris"}
    told = {"type": "function_call_output", "call_id": calls[0].call_id, "output": "21 degrees and sunny"}
    history: list[Any] = [*ask, *(item.model_dump(exclude_none=True) for item in first.output), told]
    second = client.responses.create(model=MODEL, input=history, tools=RESPONSES_TOOLS, store=False)
    assert "21 degrees and sunny" in second.output_text


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names
    assert client.models.retrieve(names[0]).owned_by == "codex"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("no-such-model")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("script", "kind", "code"),
    [
        (
            {
                "status": 429,
                "json": {"error": {"type": "usage_limit_reached", "message": "spent", "resets_in_seconds": 9000}},
            },
            openai.RateLimitError,
            "usage_limit_reached",
        ),
        ({"status": 400, "json": {"detail": "Unsupported parameter: x"}}, openai.BadRequestError, "upstream_rejected"),
        ({"status": 403, "html": "<html>Just a moment...</html>"}, openai.InternalServerError, "upstream_challenge"),
        ({"status": 500, "json": {"detail": "oops"}}, openai.InternalServerError, "upstream_unavailable"),
        (
            {"status": 402, "json": {"detail": {"code": "deactivated_workspace"}}},
            openai.APIStatusError,
            "account_deactivated",
        ),
        (
            {
                "status": 400,
                "json": {"detail": "The 'gpt-5.2' model is not supported when using Codex with a ChatGPT account."},
            },
            openai.NotFoundError,
            "model_not_found",
        ),
    ],
)
def test_an_error_of_upstream_is_the_sdks_own_exception(
    client: openai.OpenAI,
    sim: SimulatorClient,
    stream: bool,
    script: dict[str, Any],
    kind: type[openai.APIStatusError],
    code: str,
) -> None:
    sim.script(script, repeat=4)
    for call in (
        lambda: client.chat.completions.create(model=MODEL, messages=ASK, stream=stream),
        lambda: client.responses.create(model=MODEL, input="hi", stream=stream),
    ):
        with pytest.raises(kind) as caught:
            call()
        assert caught.value.code == code


def test_a_far_reset_keeps_the_sdk_from_trying_again(service: Service, sim: SimulatorClient) -> None:
    spent = {"type": "usage_limit_reached", "message": "spent", "resets_in_seconds": 9000}
    sim.script({"status": 429, "json": {"error": spent}}, repeat=9)
    client = openai.OpenAI(base_url=service.base_url, api_key="any", max_retries=2)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model=MODEL, messages=ASK)
    response = caught.value.response
    assert 8000 < told_wait(response.status_code, response.headers, response.json()["error"]) <= 9001
    assert sum(turn["status"] == 429 for turn in sim.turns()) == 1


def test_a_failure_in_mid_stream_is_raised_by_the_sdk(client: openai.OpenAI, sim: SimulatorClient) -> None:
    sim.script({"text": "one two three", "cut": {"event": 7, "how": "reset"}}, repeat=2)
    with pytest.raises(openai.APIError, match="before the answer was complete"):
        list(client.chat.completions.create(model=MODEL, messages=ASK, stream=True))
    with pytest.raises(openai.APIError, match="before the answer was complete"):
        list(client.responses.create(model=MODEL, input="hi", stream=True))
