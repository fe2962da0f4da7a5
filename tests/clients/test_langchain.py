"""What only LangChain does or shows."""

from collections.abc import Callable

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import fail
from tests.clients.conftest import Client
from tests.clients.player import Raised
from tests.clients.relay import Relay

Cast = Callable[..., Client]

both = pytest.mark.parametrize("model", ["gpt-5.2", "gpt-5.2-codex"])


@both
def test_structured_output_by_a_forced_tool(cast: Cast, sim: SimulatorClient, model: str) -> None:
    told = cast("langchain", model=model).play("schema", ask="The weather?", method="function_calling")
    assert set(told) == {"city", "degrees"}
    asked = sim.last_turn()["json"]
    assert asked["tool_choice"] == {"type": "function", "name": "Report"}
    assert asked["parallel_tool_calls"] is False


@both
def test_structured_output_by_json_mode(cast: Cast, sim: SimulatorClient, model: str) -> None:
    sim.script({"text": '{"city": "Paris", "degrees": 21}'})
    told = cast("langchain", model=model).play("schema", ask="The weather as JSON?", method="json_mode")
    assert told == {"city": "Paris", "degrees": 21}
    assert sim.last_turn()["json"]["text"]["format"] == {"type": "json_object"}


@both
def test_a_tool_result_may_be_a_list_of_parts(cast: Cast, sim: SimulatorClient, model: str) -> None:
    told = cast("langchain", model=model).play("list_content", ask='call:get_weather {"city": "Paris"}')
    assert "21 degrees" in told["text"] and "and sunny" in told["text"]


@both
def test_its_usual_knobs_are_taken_and_reported(cast: Cast, relay: Relay, sim: SimulatorClient, model: str) -> None:
    knobs = {"max_tokens": 500, "top_p": 0.9, "seed": 7} if model == "gpt-5.2" else {"max_tokens": 500, "top_p": 0.9}
    told = cast("langchain", model=model).play("whole", ask="Say hello.", more=knobs)
    assert told["text"]
    assert set(knobs) & set(sim.last_turn()["json"]) == set()
    (exchange,) = relay.exchanges()
    assert set(exchange.headers["x-codexproxy-ignored"].split(",")) == set(knobs) - {"max_tokens"}


@pytest.mark.parametrize(
    ("scene", "model"), [("whole", "gpt-5.2"), ("streamed", "gpt-5.2"), ("whole", "gpt-5.2-codex")]
)
def test_a_conversation_that_is_too_long_is_known_as_such(
    cast: Cast, sim: SimulatorClient, model: str, scene: str
) -> None:
    sim.script(fail("context_length_exceeded", "Too long."), repeat=3)
    with pytest.raises(Raised) as caught:
        cast("langchain", model=model).play(scene, ask="Say hello.")
    assert "ContextOverflow" in caught.value.fields["type"]
