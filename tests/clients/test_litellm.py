"""What only LiteLLM does or shows."""

from collections.abc import Callable

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import answer, fail, http, message, think
from tests.clients.conftest import Client
from tests.clients.player import Raised
from tests.clients.relay import Relay

Cast = Callable[..., Client]


@pytest.mark.parametrize("scene", ["whole", "streamed"])
def test_the_models_thoughts_are_kept_apart_from_its_text(cast: Cast, sim: SimulatorClient, scene: str) -> None:
    sim.script(answer(think("**Greeting**"), message("Hello!")))
    told = cast("litellm").play(scene, ask="Say hello.")
    assert (told["text"], told["thought"]) == ("Hello!", "**Greeting**")


def test_sampling_knobs_are_taken_and_reported(cast: Cast, relay: Relay, sim: SimulatorClient) -> None:
    # For newer names it refuses a temperature by itself.
    sim.rules(model_supported=False)
    knobs = {"temperature": 0.2, "seed": 7, "extra_body": {"reasoning_effort": "low"}}
    assert cast("litellm", model="gpt-4.1").play("whole", ask="Say hello.", more=knobs)["text"]
    assert set(relay.exchanges()[0].headers["x-codexproxy-ignored"].split(",")) == {"temperature", "seed"}


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (http(429, {"error": {"type": "usage_limit_reached", "message": "m", "resets_in_seconds": 9000}}), "RateLimitError"),
        (http(400, {"detail": "Unsupported thing"}), "BadRequestError"),
        (http(400, {"error": {"code": "context_length_exceeded", "message": "Too long."}}), "ContextWindowExceededError"),
        (fail("context_length_exceeded", "Too long."), "ContextWindowExceededError"),
        (http(403, html="<html>Just a moment...</html>"), "InternalServerError|APIError|BadGatewayError"),
    ],
)  # fmt: skip
def test_errors_become_its_own_exceptions(
    cast: Cast, sim: SimulatorClient, script: dict[str, object], kind: str
) -> None:
    sim.script(script, repeat=9)
    with pytest.raises(Raised) as caught:
        cast("litellm").play("whole", ask="Say hello.")
    assert caught.value.fields["type"] in kind.split("|")
