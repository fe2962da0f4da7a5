"""The same conversations with every client library: what a user sees, and what was asked upstream."""

import base64
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import answer, call, cut_after, http, message, say, stall_at, think
from tests.clients.conftest import Client
from tests.clients.player import Raised
from tests.clients.relay import Relay

# The smallest PNG: one pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE = f"data:image/png;base64,{PIXEL}"
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
CITIES = ["Paris", "Rome", "Kyoto"]


class Part(NamedTuple):
    """Who plays: the program, how it is used, the route it takes, its word for a finished answer."""

    program: str
    mode: str
    model: str
    route: str
    finish: str | None


CAST = {
    "openai-python": Part("openai_python", "chat", "gpt-5.2", CHAT, "stop"),
    "openai-python-responses": Part("openai_python", "responses", "gpt-5.2", RESPONSES, "completed"),
    "openai-node": Part("openai_sdk", "chat", "gpt-5.2", CHAT, "stop"),
    "openai-node-responses": Part("openai_sdk", "responses", "gpt-5.2", RESPONSES, "completed"),
    "ai-sdk": Part("ai_sdk", "chat", "gpt-5.2", CHAT, "stop"),
    "ai-sdk-responses": Part("ai_sdk", "responses", "gpt-5.2", RESPONSES, "stop"),
    "ai-sdk-compatible": Part("ai_sdk", "compatible", "gpt-5.2", CHAT, "stop"),
    "langchain": Part("langchain", "", "gpt-5.2", CHAT, "stop"),
    "langchain-codex": Part("langchain", "", "gpt-5.2-codex", RESPONSES, "completed"),
    "litellm": Part("litellm", "", "gpt-5.2", CHAT, "stop"),
    "agents": Part("agents", "responses", "gpt-5.2", RESPONSES, None),
    "agents-chat": Part("agents", "chat", "gpt-5.2", CHAT, None),
}


@pytest.fixture(params=CAST)
def part(request: pytest.FixtureRequest) -> Part:
    return CAST[request.param]


@pytest.fixture
def client(part: Part, cast: Callable[..., Client]) -> Client:
    return cast(part.program, part.mode, part.model)


def test_an_answer(client: Client, part: Part, sim: SimulatorClient, relay: Relay) -> None:
    sim.script(answer(think("**Greeting**"), message("Hello, ", "dear ", "reader.")))
    told = client.play("whole", ask="Say hello.")
    assert told["text"] == "Hello, dear reader."
    assert told.get("finish") == part.finish
    assert min(told["usage"]) > 0
    assert {exchange.path for exchange in relay.exchanges()} == {part.route}
    assert sim.last_turn()["json"]["model"] == part.model


def test_a_streamed_answer(client: Client, part: Part, sim: SimulatorClient) -> None:
    sim.script(answer(think("**Greeting**"), message("Hello, ", "dear ", "reader.")))
    told = client.play("streamed", ask="Say hello.")
    assert (told["text"], told["pieces"]) == ("Hello, dear reader.", 3)
    assert told.get("finish") == part.finish
    assert min(told["usage"]) > 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_tool_is_called_and_its_result_answered(client: Client, sim: SimulatorClient, stream: bool) -> None:
    told = client.play("tools", ask='call:get_weather {"city": "Paris"}', stream=stream)
    assert told["ran"] == ["Paris"]
    assert "21 degrees in Paris" in told["text"]
    assert paired_calls(sim) == [('{"city":"Paris"}', "21 degrees in Paris")]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_parallel_tools_keep_their_order_and_their_results(
    client: Client, part: Part, sim: SimulatorClient, stream: bool
) -> None:
    # Upstream has not been seen to mix the fragments of calls, and not every Responses client can
    # sort them out. In chat each fragment has its call's index, so there it must not matter.
    mixed = part.route == CHAT
    calls = [call("get_weather", {"city": city}, interleave=mixed) for city in CITIES]
    sim.script(answer(think("**Comparing**"), message("Let me look."), *calls))
    told = client.play("tools", ask="Compare the weather.", stream=stream)
    assert sorted(told["ran"]) == sorted(CITIES)
    assert paired_calls(sim) == [(f'{{"city":"{city}"}}', f"21 degrees in {city}") for city in CITIES]


def paired_calls(sim: SimulatorClient) -> list[tuple[str, str]]:
    """Each call of the last turn's history with its result: (arguments, output)."""
    items = sim.last_turn()["json"]["input"]
    outputs = {item["call_id"]: text_of(item["output"]) for item in items if item.get("type") == "function_call_output"}
    calls = [item for item in items if item.get("type") == "function_call"]
    assert len(outputs) == len(calls)
    return [(json.dumps(json.loads(one["arguments"]), separators=(",", ":")), outputs[one["call_id"]]) for one in calls]


def text_of(output: str | list[dict[str, Any]]) -> str:
    return output if isinstance(output, str) else "".join(part["text"] for part in output)


TALKATIVE = ["ai-sdk", "ai-sdk-responses", "ai-sdk-compatible", "langchain", "langchain-codex", "agents", "agents-chat"]
TURNS = ["say:My name is Ann.", 'call:get_weather {"city": "Paris"}', "What is my name?"]


@pytest.mark.parametrize("part", TALKATIVE, indirect=True)
def test_three_turns_with_a_tool_are_one_conversation(client: Client, sim: SimulatorClient) -> None:
    told = client.play("conversation", turns=TURNS)
    assert told["texts"][0] == "My name is Ann."
    assert "21 degrees in Paris" in told["texts"][1]
    assert "What is my name?" in told["texts"][2]
    assert spoken_turns(sim) == TURNS
    assert paired_calls(sim) == [('{"city":"Paris"}', "21 degrees in Paris")]
    assert len({turn["json"]["prompt_cache_key"] for turn in sim.turns() if turn["status"] == 200}) == 1


@pytest.mark.parametrize("part", ["agents"], indirect=True)
def test_three_turns_remembered_by_the_service_are_one_conversation(client: Client, sim: SimulatorClient) -> None:
    told = client.play("conversation", turns=TURNS, chained=True)
    assert "What is my name?" in told["texts"][2]
    assert spoken_turns(sim) == TURNS
    assert paired_calls(sim) == [('{"city":"Paris"}', "21 degrees in Paris")]


def spoken_turns(sim: SimulatorClient) -> list[str]:
    """What the user said in the last turn's history."""
    said = [item["content"] for item in sim.last_turn()["json"]["input"] if item.get("role") == "user"]
    return [text_of(content) for content in said]


def test_an_answer_in_a_schema(client: Client, sim: SimulatorClient) -> None:
    sim.script(say('{"city":', '"Paris","degrees":21}'))
    assert client.play("schema", ask="The weather in Paris?") == {"city": "Paris", "degrees": 21}
    wanted = sim.last_turn()["json"]["text"]["format"]
    assert wanted["type"] == "json_schema" and wanted["name"]
    assert set(wanted["schema"]["properties"]) == {"city", "degrees"}
    assert wanted["strict"] is True


def test_an_image_is_looked_at(client: Client, sim: SimulatorClient) -> None:
    assert "looked at 1 picture" in client.play("image", ask="What is this?", image=IMAGE)["text"]
    parts = [part for item in sim.last_turn()["json"]["input"] for part in item["content"]]
    (image,) = [part for part in parts if part["type"] == "input_image"]
    head, _, data = image["image_url"].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data) == base64.b64decode(PIXEL)


@pytest.mark.parametrize("scene", ["whole", "streamed"])
def test_a_spent_quota_is_told_and_not_asked_for_again(client: Client, sim: SimulatorClient, scene: str) -> None:
    spent = {"type": "usage_limit_reached", "message": "spent", "resets_in_seconds": 9000}
    sim.script(http(429, {"error": spent}), repeat=9)
    with pytest.raises(Raised, match="usage limit") as caught:
        client.play(scene, ask="Say hello.")
    assert caught.value.fields["status_code"] in (429, None)
    assert sum(turn["status"] == 429 for turn in sim.turns()) == 1


def test_a_refused_request_is_told_in_upstreams_words(client: Client, sim: SimulatorClient) -> None:
    sim.script(http(400, {"error": {"message": "Your text is upsetting.", "code": "invalid_prompt"}}), repeat=9)
    with pytest.raises(Raised, match="upsetting") as caught:
        client.play("whole", ask="Say hello.")
    assert caught.value.fields["status_code"] in (400, None)


def test_a_stream_that_breaks_is_an_error(client: Client, sim: SimulatorClient) -> None:
    sim.script(cut_after(say("one ", "two ", "three"), "reset", event=7))
    with pytest.raises(Raised, match="before the answer was complete"):
        client.play("streamed", ask="Say hello.")


def test_a_client_that_leaves_ends_the_turn_upstream(client: Client, sim: SimulatorClient) -> None:
    sim.script(stall_at(say("one ", "two "), event=5))
    assert client.play("cancelled", ask="Say hello.")["first"] == "one "
    counters = sim.wait_for(lambda counters: counters["open_streams"] == 0)
    assert counters["disconnects"] == 1
