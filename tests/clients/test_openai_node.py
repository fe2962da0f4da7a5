"""What only the OpenAI Node SDK does or shows."""

from collections.abc import Callable

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import answer, custom_call, cut_after, http, refusal, say
from tests.clients.conftest import Client
from tests.clients.player import Raised
from tests.clients.relay import Relay

Cast = Callable[..., Client]

both = pytest.mark.parametrize("mode", ["chat", "responses"])


@both
def test_an_error_has_status_code_kind_and_a_message_for_people(cast: Cast, mode: str) -> None:
    with pytest.raises(Raised, match="not supported") as caught:
        cast("openai_sdk", mode, "gpt-0").play("whole", ask="Say hello.")
    fields = caught.value.fields
    assert (fields["type"], fields["status_code"]) == ("NotFoundError", 404)
    assert (fields["code"], fields["kind"]) == ("model_not_found", "invalid_request_error")


@both
def test_a_bad_field_is_named_by_its_path(cast: Cast, mode: str) -> None:
    bad = {"chat": {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "responses": {"tools": 7}}
    with pytest.raises(Raised) as caught:
        cast("openai_sdk", mode).play("whole", ask="Say hello.", more=bad[mode])
    assert caught.value.fields["type"] == "BadRequestError"
    assert caught.value.fields["param"].startswith({"chat": "messages[0].content[0]", "responses": "tools"}[mode])


@both
def test_a_request_is_known_by_the_same_id_on_both_sides(cast: Cast, relay: Relay, mode: str) -> None:
    told = cast("openai_sdk", mode).play("whole", ask="Say hello.")
    (exchange,) = relay.exchanges()
    assert told["request_id"] == exchange.headers["x-request-id"]


@both
@pytest.mark.parametrize("scene", ["whole", "streamed"])
def test_its_own_retries_spare_a_spent_quota(
    cast: Cast, relay: Relay, sim: SimulatorClient, mode: str, scene: str
) -> None:
    spent = {"type": "usage_limit_reached", "message": "spent", "resets_in_seconds": 9000}
    sim.script(http(429, {"error": spent}), repeat=9)
    with pytest.raises(Raised, match="usage limit") as caught:
        cast("openai_sdk", mode).play(scene, ask="Say hello.", **({"retries": 2} if scene == "whole" else {}))
    assert caught.value.fields["type"] == "RateLimitError"
    assert len(relay.exchanges()) == 1


@both
def test_a_stream_that_breaks_throws_its_message(cast: Cast, sim: SimulatorClient, mode: str) -> None:
    sim.script(cut_after(say("one ", "two ", "three"), "reset", event=7))
    with pytest.raises(Raised, match="Please try again") as caught:
        cast("openai_sdk", mode).play("streamed", ask="Say hello.")
    assert caught.value.fields["code"] in ("upstream_truncated", None)


def test_the_call_of_a_custom_tool_is_put_together_from_its_pieces(cast: Cast, sim: SimulatorClient) -> None:
    sim.script(answer(custom_call("patch", "*** Begin Patch\n+a\n")))
    told = cast("openai_sdk", "chat").play("custom", ask="Patch it.")
    assert told == {"type": "custom", "name": "patch", "input": "*** Begin Patch\n+a\n"}


def test_a_refusal_is_no_content(cast: Cast, sim: SimulatorClient) -> None:
    sim.script(answer(refusal("I will not do that.")))
    told = cast("openai_sdk", "chat").play("whole", ask="Say hello.")
    assert (told["text"], told["refusal"], told["finish"]) == (None, "I will not do that.", "stop")


def test_an_answer_that_was_cut_says_so(cast: Cast, sim: SimulatorClient) -> None:
    sim.script(say("one two three four ", "five six seven eight ", "nine ten"))
    told = cast("openai_sdk", "chat").play("whole", ask="Count.", more={"max_completion_tokens": 4})
    assert told["finish"] == "length"
    assert "one" in told["text"] and "ten" not in told["text"]
