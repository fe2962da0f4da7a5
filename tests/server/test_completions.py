"""Legacy completions over real HTTP."""

import json

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.service import Service

PATH = "/v1/completions"


def test_a_prompt_is_answered_with_a_text_choice(service: Service, sim: SimulatorClient) -> None:
    sim.script({"text": " there was a fox."})
    answer = service.post(PATH, {"model": "gpt-5.2", "prompt": "Once", "max_tokens": 50})
    assert answer.status == 200
    told = answer.json
    assert (told["object"], told["model"]) == ("text_completion", "gpt-5.2")
    assert told["choices"][0]["text"] == " there was a fox."
    assert sim.last_turn()["json"]["store"] is False


def test_a_stream_ends_with_done(service: Service, sim: SimulatorClient) -> None:
    sim.script({"text": "one two three"})
    body = service.post(PATH, {"model": "gpt-5.2", "prompt": "count", "stream": True}).body.decode()
    lines = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    texts = [choice["text"] for line in lines[:-1] for choice in json.loads(line)["choices"]]
    assert "".join(texts) == "one two three"


def test_several_prompts_are_several_choices(service: Service, sim: SimulatorClient) -> None:
    sim.script({"text": "first"}, match="prompt one")
    sim.script({"text": "second"}, match="prompt two")
    answer = service.post(PATH, {"model": "gpt-5.2", "prompt": ["prompt one", "prompt two"]})
    assert [choice["text"] for choice in answer.json["choices"]] == ["first", "second"]


@pytest.mark.parametrize("prompt", [None, [], [1, 2], {"a": 1}])
def test_a_prompt_that_is_no_text_is_refused_by_name(service: Service, prompt: object) -> None:
    answer = service.post(PATH, {"model": "gpt-5.2", "prompt": prompt})
    assert answer.status == 400
    assert str(answer.json["error"]["param"]).startswith("prompt")
