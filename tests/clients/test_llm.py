"""The command ``llm``, told of us in its ``extra-openai-models.yaml``."""

import base64
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import http, say, stall_at
from tests.clients.player import PATIENCE, quiet_environment, run
from tests.clients.relay import Relay
from tests.clients.test_conversations import PIXEL
from tests.patience import patient

MODELS = """
- model_id: proxy
  model_name: gpt-5.2
  api_base: "{base_url}"
  supports_tools: true
  supports_schema: true
  vision: true
  reasoning: true
- model_id: proxy-responses
  model_name: gpt-5.2
  api_base: "{base_url}"
  responses: true
  supports_tools: true
  supports_schema: true
  vision: true
- model_id: proxy-text
  model_name: gpt-5.2
  api_base: "{base_url}"
  completion: true
"""
WEATHER = """
def get_weather(city: str) -> str:
    "The weather of a city."
    return f"21 degrees in {city}"
"""

both = pytest.mark.parametrize("model", ["proxy", "proxy-responses"])


class Llm:
    """The installed command with a home folder of its own."""

    def __init__(self, binary: Path, home: Path, base_url: str) -> None:
        self._binary = str(binary)
        self.home = home
        (home / "extra-openai-models.yaml").write_text(MODELS.format(base_url=base_url))
        self.environ = quiet_environment(home, LLM_USER_PATH=str(home))

    def argv(self, *words: str) -> list[str]:
        return [self._binary, *words]

    def __call__(self, *words: str) -> str:
        done = run(self.argv(*words), self.home, LLM_USER_PATH=str(self.home))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fail(self, *words: str) -> str:
        """The complaint of a run that has to fail."""
        done = run(self.argv(*words), self.home, LLM_USER_PATH=str(self.home))
        assert done.returncode != 0
        return done.stderr


@pytest.fixture
def llm(installed: Callable[[str], Path], relay: Relay, tmp_path: Path) -> Llm:
    return Llm(installed("llm") / "bin/llm", tmp_path, relay.base_url)


@pytest.mark.parametrize(("model", "options"), [("proxy", []), ("proxy", ["--no-stream"]), ("proxy-responses", [])])
def test_an_answer_and_its_log(llm: Llm, sim: SimulatorClient, model: str, options: list[str]) -> None:
    sim.script(say("Hello, ", "dear reader."))
    assert llm("-m", model, *options, "Say hello.") == "Hello, dear reader.\n"
    (entry,) = json.loads(llm("logs", "--json"))
    assert (entry["response"], entry["model"]) == ("Hello, dear reader.", model)
    assert entry["input_tokens"] > 0 and entry["output_tokens"] > 0


def test_a_conversation_goes_on(llm: Llm, sim: SimulatorClient) -> None:
    llm("-m", "proxy", "-s", "Be brief.", "say:My name is Ann.")
    assert "I heard “What is your name?”" in llm("-c", "What is your name?")
    body = sim.last_turn()["json"]
    assert [item["role"] for item in body["input"] if item["type"] == "message"][-3:] == ["user", "assistant", "user"]
    assert "Be brief." in json.dumps(body)


@both
def test_a_tool_runs_and_its_result_is_answered(llm: Llm, sim: SimulatorClient, model: str) -> None:
    told = llm("-m", model, "--functions", WEATHER, 'call:get_weather {"city": "Paris"}')
    assert "21 degrees in Paris" in told
    call, output = sim.last_turn()["json"]["input"][-2:]
    assert (call["type"], output["type"]) == ("function_call", "function_call_output")
    assert call["call_id"] == output["call_id"]


def test_an_answer_in_a_schema(llm: Llm, sim: SimulatorClient) -> None:
    sim.script(say('{"city":"Paris",', '"degrees":21}'))
    told = llm("-m", "proxy", "--schema", "city, degrees int", "The weather in Paris?")
    assert json.loads(told) == {"city": "Paris", "degrees": 21}
    wanted = sim.last_turn()["json"]["text"]["format"]
    assert wanted["type"] == "json_schema" and set(wanted["schema"]["properties"]) == {"city", "degrees"}


def test_an_image_is_looked_at(llm: Llm) -> None:
    (llm.home / "pixel.png").write_bytes(base64.b64decode(PIXEL))
    assert "looked at 1 picture" in llm("-m", "proxy", "-a", "pixel.png", "What is this?")


def test_the_text_model_completes(llm: Llm, sim: SimulatorClient) -> None:
    sim.script(say("there was ", "a fox."), repeat=2)
    assert llm("-m", "proxy-text", "Once upon a time") == "there was a fox.\n"
    assert llm("-m", "proxy-text", "--no-stream", "Once upon a time") == "there was a fox.\n"


def test_a_refusal_is_told_in_one_line(llm: Llm, sim: SimulatorClient) -> None:
    spent: Any = {"type": "usage_limit_reached", "message": "spent", "resets_in_seconds": 9000}
    sim.script(http(429, {"error": spent}), repeat=9)
    complaint = llm.fail("-m", "proxy", "Say hello.")
    assert "usage limit" in complaint and "Traceback" not in complaint
    assert sum(turn["status"] == 429 for turn in sim.turns()) == 1


def test_an_interrupt_ends_the_turn_upstream(llm: Llm, sim: SimulatorClient) -> None:
    sim.script(stall_at(say("one ", "two "), event=5))
    environ = {**llm.environ, "PYTHONUNBUFFERED": "1"}
    argv = llm.argv("-m", "proxy", "Say hello.")
    with subprocess.Popen(argv, cwd=llm.home, env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert os.read(process.stdout.fileno(), 99) == b"one "
            process.send_signal(signal.SIGINT)
            process.wait(patient(PATIENCE))
        finally:
            process.kill()
    sim.wait_for(lambda counters: counters["open_streams"] == 0 and counters["disconnects"] == 1)
