"""What only the Vercel AI SDK does or shows."""

from collections.abc import Callable

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import answer, call, message, think
from tests.clients.conftest import Client
from tests.clients.relay import Relay
from tests.clients.test_conversations import text_of

Cast = Callable[..., Client]


@pytest.mark.parametrize("mode", ["compatible", "responses"])
@pytest.mark.parametrize("scene", ["whole", "streamed"])
def test_the_models_thoughts_are_kept_apart_from_its_text(
    cast: Cast, sim: SimulatorClient, mode: str, scene: str
) -> None:
    sim.script(answer(think("**Greeting**", "Being kind."), message("Hello!")))
    told = cast("ai_sdk", mode).play(scene, ask="Say hello.")
    assert told["text"] == "Hello!"
    assert "**Greeting**" in told["thought"] and "Being kind." in told["thought"]


@pytest.mark.parametrize("mode", ["chat", "compatible", "responses"])
def test_its_instructions_are_the_instructions(cast: Cast, sim: SimulatorClient, mode: str) -> None:
    cast("ai_sdk", mode).play("whole", ask="Say hello.", system="Be brief.")
    asked = sim.last_turn()["json"]
    told = [item["content"] for item in asked["input"] if item.get("role") == "developer"]
    assert asked["instructions"] == "Be brief." or [text_of(content) for content in told] == ["Be brief."]
    assert {item["role"] for item in asked["input"]} <= {"user", "developer"}


def test_items_it_only_points_at_are_put_in_their_places(cast: Cast, relay: Relay, sim: SimulatorClient) -> None:
    sim.script(answer(think("**Looking**"), call("get_weather", {"city": "Paris"})))
    told = cast("ai_sdk", "responses").play("conversation", turns=["The weather?", "say:Goodbye."])
    assert told["texts"][1] == "Goodbye."
    assert any(b'"item_reference"' in exchange.asked for exchange in relay.exchanges())
    kinds = [item["type"] for item in sim.last_turn()["json"]["input"]]
    assert kinds == ["message", "reasoning", "function_call", "function_call_output", "message", "message"]
