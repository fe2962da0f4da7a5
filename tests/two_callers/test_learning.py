"""What upstream's refusals of Ann's turns teach changes none of Bob's but those it would refuse as well."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from tests.service import Service
from tests.two_callers.pair import CODEX, MODEL, Pair, configuration, pair_on

CHAT = "/v1/chat/completions"
PLAIN: dict[str, Any] = {"model": MODEL, "input": "hi"}
LITE = {"type": "additional_tools", "role": "developer", "tools": []}
USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}

# Bob's turns, by what they are sent with.
BOBS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "plain": ("/v1/responses", PLAIN, {}),
    "chat": (CHAT, {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}, {}),
    "careful": (
        "/v1/responses",
        {**PLAIN, "reasoning": {"effort": "xhigh", "summary": "detailed"}, "text": {"verbosity": "low"}}
        | {"service_tier": "priority", "instructions": "mine"},
        {},
    ),
    "the Codex CLI": ("/v1/responses", {**PLAIN, "input": [USER], "instructions": "official"}, CODEX),
    "the Codex CLI, lite": ("/v1/responses", {**PLAIN, "input": [LITE, USER]}, CODEX),
}


@pytest.fixture(scope="module")
def pair(simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("learning")
    sim = SimulatorClient(simulator.base_url)
    with Service(folder, sim, CONFIG_PATH=configuration(folder)) as service:
        yield pair_on(service, sim)


def previews(pair: Pair) -> dict[str, Any]:
    return {name: pair.bob.preview(body, headers, path)["upstream"] for name, (path, body, headers) in BOBS.items()}


def refusal(message: str, param: str | None = None) -> dict[str, Any]:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": "unsupported_value"}
    return {"status": 400, "json": {"error": error} if param else {"detail": message}}


# Ann's turn, and what upstream says of it, None for what the simulator says by itself.
ODD: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "a wrong verbosity": ({"text": {"verbosity": "bogus"}}, None),
    "a verbosity that is no text": (
        {"text": {"verbosity": {"a": 1}}},
        refusal("Invalid type for 'text.verbosity'.", "text.verbosity"),
    ),
    "a wrong summary": (
        {"reasoning": {"summary": "bogus"}},
        refusal("Unsupported value: 'bogus'.", "reasoning.summary"),
    ),
    "a wrong summary, called unsupported": (
        {"reasoning": {"summary": "bogus"}},
        refusal("Unsupported parameter: reasoning.summary"),
    ),
    "an effort": (
        {"reasoning": {"effort": "none"}},
        refusal("Unsupported value: 'none'. Supported values are: 'low'.", "reasoning.effort"),
    ),
    "a right summary, refused as a value": (
        {"reasoning": {"summary": "auto"}},
        refusal("Unsupported value: 'auto'.", "reasoning.summary"),
    ),
    "a field of an item": (
        {"input": [{**USER, "content": [{"type": "input_text", "text": "hi", "odd": 1}]}]},
        refusal("Unsupported parameter: content"),
    ),
    "tools": (
        {"tools": [{"type": "function", "name": "f", "parameters": {}}]},
        refusal("Unsupported parameter: tools"),
    ),
    "empty instructions": ({"instructions": ""}, refusal("Instructions are required")),
    "instructions": ({"instructions": "Be odd."}, refusal("Instructions are not valid")),
}


@pytest.mark.parametrize("odd", ODD)
def test_what_ann_got_wrong_changes_nothing_that_bob_sends(pair: Pair, odd: str) -> None:
    pair.sim.reset()
    pair.ann.service.login()
    fields, refused = ODD[odd]
    before = previews(pair)
    if refused is not None:
        pair.sim.script(refused)
    answer = pair.ann.ask({**PLAIN, **fields})
    # What is refused here already, upstream is not asked.
    statuses = [turn["status"] for turn in pair.sim.turns()] or [answer.status]
    assert statuses[0] == 400, "nobody refused the turn, so that the test shows nothing"
    assert previews(pair) == before


def test_a_parameter_that_upstream_does_not_support_is_left_out_of_the_next_turn_of_that_kind(
    serve: Callable[..., Service], sim: SimulatorClient, tmp_path: Path
) -> None:
    pair = pair_on(serve(CONFIG_PATH=configuration(tmp_path)), sim)
    asked = {**PLAIN, "service_tier": "priority"}
    sim.script(refusal("Unsupported parameter: service_tier"))
    assert pair.ann.ask(asked).status == 200
    assert [turn["status"] for turn in sim.turns()] == [400, 200]
    answer = pair.bob.ask(asked)
    assert "healed:drop:service_tier" in answer.headers["x-codexproxy-adapted"]
    assert [turn["status"] for turn in sim.turns()] == [400, 200, 200]
    assert "service_tier" not in sim.last_turn()["json"]
    assert "healed:drop:service_tier" in pair.bob.preview(asked)["adapted"]


def test_empty_instructions_count_as_none(pair: Pair) -> None:
    absent, empty = (pair.bob.preview({**PLAIN, **more})["upstream"][0]["body"] for more in ({}, {"instructions": ""}))
    assert empty == absent
    assert absent["instructions"]
