"""The real Codex CLI is known by its own requests, curl and the OpenAI SDK are not, and all of them are served.

Upstream takes the official instructions only, byte for byte, and they have the line ends of Windows.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from codexproxy.access.keys import hash_key
from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from codexproxy.upstream.chatgpt.instruction_sources import texts_of_cli
from tests.service import Service, wait_until
from tests.upstream.codex_cli.real_cli import installed

pytestmark = pytest.mark.real_cli

MODEL = "gpt-5.5"
SAID = "The fox was here."
KEY = "the-key-of-ann"
SECONDS = 120.0


@dataclass
class Stage:
    """A service whose upstream insists on the official text.

    Attributes:
        sim: Its upstream.
        folder: Its own.
        official: The text, with the line ends of Windows.
    """

    sim: SimulatorClient
    folder: Path
    official: str
    service: Service

    def decision(self, number: int = -1) -> dict[str, Any]:
        """One of the guard's lines."""

        def lines() -> list[dict[str, Any]]:
            found = [json.loads(line) for line in self.service.log.splitlines() if "guard decision" in line]
            return found if len(found) > abs(number) - (number < 0) else []

        found: dict[str, Any] = wait_until(lines, "the line of the decision")[number]
        return found


@pytest.fixture(scope="module")
def official() -> str:
    """What the installed CLI itself says first, as Windows would write it."""
    text = texts_of_cli([str(installed())])[MODEL][0]
    assert "\r" not in text and "\n" in text
    return text.replace("\n", "\r\n")


@pytest.fixture
def stage(tmp_path: Path, official: str, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A service with this allow-list."""
    with SimulatorProcess() as process:
        sim = SimulatorClient(process.base_url)
        sim.settings(official_instructions=official, models=[{"slug": MODEL, "base_instructions": official}])
        sim.rules(instructions_exact=True)
        sim.script({"text": SAID}, repeat=-1)
        config = tmp_path / "config.json"
        config.write_text(json.dumps(configuration(request.param)))
        service = Service(tmp_path, sim, CONFIG_PATH=str(config), LOG_FORMAT="json")
        service.login()
        service.start()
        yield Stage(sim, tmp_path, official, service)
        service.stop()


def configuration(user_agents: list[str]) -> dict[str, Any]:
    return {
        "providers": [{"name": "own"}, {"name": "forced", "groupTag": "2apiCodex"}],
        "users": [{"name": "ann", "apiKeyHash": hash_key(KEY), "allowedClients": ["codex-cli"]}],
        "guard": {"codexCli": {"userAgents": user_agents}},
    }


def codex(stage: Stage) -> str:
    """What the real CLI answers to a question that it asks through the service."""
    home = stage.folder / "codex home"
    home.mkdir()
    lines = [
        'model_provider = "proxy"',
        "[model_providers.proxy]",
        'name = "proxy"',
        f'base_url = "{stage.service.base_url}/v1"',
        'wire_api = "responses"',
        'env_key = "PROXY_KEY"',
        "request_max_retries = 0",
        "stream_max_retries = 0",
    ]
    (home / "config.toml").write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [str(installed()), "exec", "--skip-git-repo-check", "-m", MODEL, "say something"],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "CODEX_HOME": str(home), "PROXY_KEY": KEY},
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr + stage.service.log
    return done.stdout


def check_sent(stage: Stage) -> None:
    """Every turn that upstream answered began with the official text, byte for byte."""
    answered = [turn for turn in stage.sim.turns() if turn["status"] == 200]
    assert answered
    assert all(turn["json"]["instructions"] == stage.official for turn in answered)


@pytest.mark.parametrize(
    ("stage", "reason", "group"),
    [(["codex_exec"], "genuine", "default"), (["codex_cli_rs"], "user_agent_not_listed", "2apiCodex")],
    indirect=["stage"],
    ids=["listed", "not listed"],
)
def test_the_real_cli_is_genuine_and_its_turn_completes(stage: Stage, reason: str, group: str) -> None:
    assert SAID in codex(stage)
    line = stage.decision()
    assert (line["reason"], line["group"], line["profile"], line["completed"]) == (reason, group, "codex-cli", False)
    assert line["genuine"] == ["codex-cli"]
    proofs = ("officialInstructions", "codexUserAgent", "sessionIdIsUuid", "conversationIdIsUuid")
    assert all(line["marks"][proof] for proof in proofs)
    check_sent(stage)


@pytest.mark.parametrize("stage", [["codex_exec"]], indirect=True)
def test_curl_and_the_sdk_are_not_genuine_and_their_turns_are_completed(stage: Stage) -> None:
    body = {"model": MODEL, "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]}
    done = subprocess.run(
        ["curl", "-sSf", "--noproxy", "*", f"{stage.service.base_url}/v1/chat/completions"]
        + ["-H", f"authorization: Bearer {KEY}", "-d", json.dumps(body)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == SAID
    client = OpenAI(base_url=f"{stage.service.base_url}/v1", api_key=KEY, max_retries=0)
    with client:
        assert client.responses.create(model=MODEL, instructions="Be brief.", input="hi").output_text == SAID
    for number, profile in ((0, "curl"), (1, "openai-sdk")):
        line = stage.decision(number)
        assert (line["reason"], line["group"], line["profile"]) == ("not_genuine", "2apiCodex", profile)
        assert (line["completed"], line["provider"], line["genuine"]) == (True, "forced", [])
    check_sent(stage)
    # The first attempt was right: nothing had to be healed.
    assert [turn["status"] for turn in stage.sim.turns()] == [200, 200]
    for turn in stage.sim.turns():
        assert turn["json"]["input"][0]["content"][0]["text"] == "Be brief."


@pytest.mark.parametrize("stage", [["codex_exec"]], indirect=True)
def test_texts_of_the_installed_cli_make_it_genuine_when_the_account_tells_others(stage: Stage) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(stage.folder), "DATA_DIR": str(stage.service.data_dir)}
    command = [sys.executable, "-m", "codexproxy", "prompts", "sync", "--from-cli"]
    root = str(Path(__file__).resolve().parents[2])
    subprocess.run(
        command, env=environ | {"CODEX_BIN": str(installed()), "PYTHONPATH": root}, check=True, capture_output=True
    )
    other = "You are somebody quite different."
    stage.sim.settings(official_instructions=other, models=[{"slug": MODEL, "base_instructions": other}])
    assert SAID in codex(stage)
    assert stage.decision()["reason"] == "genuine"
    assert stage.sim.last_turn()["json"]["instructions"] == other
