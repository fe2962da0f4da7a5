"""The real Codex CLI with the service as its provider, at ``/v1``."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import answer, custom_call, say
from tests.clients.relay import Exchange, Relay
from tests.codex_cli.cli import Cli
from tests.service import Service
from tests.upstream.codex_cli.real_cli import installed

pytestmark = pytest.mark.real_cli

CONFIG = """
model_provider = "ours"
[model_providers.ours]
name = "ours"
base_url = "{base_url}"
wire_api = "responses"
env_key = "OUR_KEY"
"""
# A white square of one pixel.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8ffff3f0005fe02fe0def46b80000000049454e44ae426082"
)


@pytest.fixture
def upstream(sim: SimulatorClient) -> SimulatorClient:
    """An upstream that takes what the real one takes from the real CLI."""
    sim.rules(instructions_required=False, lite_header_checks=True)
    return sim


@pytest.fixture
def relay(service: Service) -> Iterator[Relay]:
    with Relay(service.port) as between:
        yield between


@pytest.fixture
def cli(relay: Relay, upstream: SimulatorClient, tmp_path: Path) -> Cli:
    cli = Cli(installed(), tmp_path / "home", tmp_path / "work", {"OUR_KEY": "any"})
    cli.configure(CONFIG.format(base_url=relay.base_url))
    return cli


def turns_of(relay: Relay) -> list[Exchange]:
    """What the CLI asked the service, which is nothing but turns."""
    found = relay.exchanges()
    assert {(exchange.method, exchange.path) for exchange in found} <= {("POST", "/v1/responses")}
    return found


@pytest.mark.parametrize("model", ["gpt-5.5", "gpt-6-sol", "gpt-5.2-codex"])
def test_a_plain_turn(cli: Cli, relay: Relay, upstream: SimulatorClient, model: str) -> None:
    told = cli.exec("say:Hello from far away.", model=model)
    assert (told.code, told.text) == (0, "Hello from far away.")
    assert told.events[-1]["type"] == "turn.completed" and told.events[-1]["usage"]["output_tokens"] > 0
    assert len(turns_of(relay)) == 1
    body = upstream.last_turn()["json"]
    assert body["model"] == model and "instructions" not in body


def test_a_shell_tool_and_the_request_that_carries_its_output(
    cli: Cli, relay: Relay, upstream: SimulatorClient
) -> None:
    told = cli.exec('call:exec_command {"cmd":"echo tool-$((40+2))"}')
    assert told.code == 0
    (command,) = told.items("command_execution")
    assert (command["exit_code"], command["aggregated_output"].strip()) == (0, "tool-42")
    assert "tool-42" in told.text
    assert [exchange.status for exchange in turns_of(relay)] == [200, 200]
    first, second = (turn["json"]["input"] for turn in upstream.turns() if turn["status"] == 200)
    assert second[: len(first)] == first
    assert [item["type"] for item in second[len(first) :]] == ["reasoning", "function_call", "function_call_output"]


def test_a_patch_really_changes_a_file(cli: Cli, upstream: SimulatorClient) -> None:
    repository = cli.workdir
    (repository / "poem.txt").write_text("roses are red\nviolets are green\n")
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    patch = "*** Begin Patch\n*** Update File: poem.txt\n@@\n roses are red\n-violets are green\n+violets are blue\n*** End Patch"
    upstream.script(answer(custom_call("apply_patch", patch)), say("Done."))
    told = cli.exec("mend the poem", "-s", "workspace-write")
    assert (told.code, told.text) == (0, "Done.")
    (change,) = told.items("file_change")
    assert change["status"] == "completed"
    assert (repository / "poem.txt").read_text() == "roses are red\nviolets are blue\n"
    kinds = [item["type"] for item in upstream.last_turn()["json"]["input"]]
    assert kinds[-2:] == ["custom_tool_call", "custom_tool_call_output"]


def test_an_output_schema(cli: Cli, upstream: SimulatorClient, tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(schema))
    told = cli.exec("who are you?", "--output-schema", str(path))
    assert told.code == 0
    found = json.loads(told.text)
    assert isinstance(found["name"], str) and isinstance(found["age"], int)
    form = upstream.last_turn()["json"]["text"]["format"]
    assert (form["type"], form["strict"], form["schema"]) == ("json_schema", True, schema)


def test_an_image(cli: Cli, upstream: SimulatorClient, tmp_path: Path) -> None:
    path = tmp_path / "pixel.png"
    path.write_bytes(PIXEL)
    told = cli.exec("what is this?", "-i", str(path))
    assert told.code == 0 and "looked at 1 picture" in told.text
    parts: list[dict[str, Any]] = upstream.last_turn()["json"]["input"][-1]["content"]
    (image,) = [part for part in parts if part["type"] == "input_image"]
    assert image["image_url"].startswith("data:image/png;base64,") and image["detail"]


def test_a_resumed_session(cli: Cli, upstream: SimulatorClient) -> None:
    first = cli.exec("say:I am the first answer.")
    second = cli.exec("say:I am the second.", command=("resume", first.events[0]["thread_id"]))
    assert (second.code, second.text) == (0, "I am the second.")
    assert second.events[0]["thread_id"] == first.events[0]["thread_id"]
    said = json.dumps(upstream.last_turn()["json"]["input"])
    assert "say:I am the first answer." in said and '"I am the first answer."' in said
    keys = {turn["json"]["prompt_cache_key"] for turn in upstream.turns()}
    assert len(keys) == 1


def test_a_usage_limit_shows_when_it_ends_after_one_request(cli: Cli, relay: Relay, upstream: SimulatorClient) -> None:
    upstream.rules(usage_limit={"resets_in_seconds": 9000})
    told = cli.exec("hi")
    hour = time.strftime("%-I:%M %p", time.localtime(time.time() + 9000))
    near = time.strftime("%-I:%M %p", time.localtime(time.time() + 8990))
    assert told.code == 1
    assert "hit your usage limit" in told.failure and (hour in told.failure or near in told.failure)
    assert [exchange.status for exchange in turns_of(relay)] == [429]


@pytest.mark.parametrize("rule", ["overload_503", "overload_in_200"])
def test_an_overload_passes_unnoticed(cli: Cli, relay: Relay, upstream: SimulatorClient, rule: str) -> None:
    upstream.rules(**{rule: {"times": 1}})
    told = cli.exec("say:Here I am.")
    assert (told.code, told.text) == (0, "Here I am.")
    assert [exchange.status for exchange in turns_of(relay)] == [200]


def test_an_overload_that_lasts_has_its_own_words(cli: Cli, relay: Relay, upstream: SimulatorClient) -> None:
    upstream.rules(overload_in_200=True)
    told = cli.exec("hi")
    assert told.code == 1 and "at capacity" in told.failure
    assert len(turns_of(relay)) == 1


def test_a_conversation_that_grew_too_long_is_told_once(cli: Cli, relay: Relay, upstream: SimulatorClient) -> None:
    message = "Your input exceeds the context window of this model."
    error = {"message": message, "type": "invalid_request_error", "param": "input", "code": "context_length_exceeded"}
    upstream.script({"status": 400, "json": {"error": error}}, repeat=-1)
    told = cli.exec("hi")
    assert told.code == 1 and "ran out of room" in told.failure
    assert [exchange.status for exchange in turns_of(relay)] == [400]
