"""docs/cursor.md, followed step by step: its commands are run, its checks made through a real nginx."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import answer, call, message
from tests.data import RECORDINGS
from tests.deploy.test_nginx import Deployment
from tests.deploy.web_server import find_nginx
from tests.patience import patient
from tests.service import ROOT, Answer, free_port, wait_until

GUIDE = ROOT / "docs" / "cursor.md"
CHAT = "/v1/chat/completions"
REVERSED = "1.5-tpg"

pytestmark = pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed")


def commands() -> list[str]:
    """The blocks of the guide that can be run here; those marked ``console`` need an account elsewhere."""
    return re.findall(r"^```sh\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


class Shell:
    """A shell as the guide's reader has one, with ``codexproxy`` on its path."""

    def __init__(self, folder: Path, **environ: str) -> None:
        programs = folder / "bin"
        programs.mkdir(exist_ok=True)
        (programs / "codexproxy").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m codexproxy "$@"\n')
        (programs / "codexproxy").chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        self.environ = {"PATH": path, "HOME": str(folder), "PYTHONPATH": str(ROOT), "PS4": "", **environ}
        self.folder = folder

    def run(self, block: str) -> str:
        """What the commands print; fails when one of them does."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=patient(60),
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()


@pytest.fixture
def deployment(tmp_path: Path, sim: SimulatorClient) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path, sim, CODEX_REVERSE_NAMES="1", CORS_ALLOW_ORIGINS="*")
    yield deployment
    deployment.stop()


def test_the_guide_works_as_it_is_written(deployment: Deployment, sim: SimulatorClient, tmp_path: Path) -> None:
    make_key, _, address, health, stream, preflight = commands()
    shell = Shell(
        tmp_path,
        DATA_DIR=str(deployment.service.data_dir),
        CURL_CA_BUNDLE=str(deployment.nginx.certificate),
    )
    key = shell.run(make_key)
    assert key.startswith("cpx_")
    address = address.replace("https://proxy.example.com", deployment.nginx.base_url)
    address = address.replace("cpx_the_key_that_was_shown", key)
    listed = shell.run(address + health)
    assert '"2.5-tpg"' in listed and '"status":"ok"' in listed
    sim.script({"text": "one two three"})
    streamed = shell.run(address + stream)
    assert streamed.endswith("data: [DONE]")
    assert '"model":"2.5-tpg"' in streamed
    assert sim.last_turn()["json"]["model"] == "gpt-5.2"
    assert shell.run(address + preflight) == "204"
    # The limit of the guide's key holds.
    headers = {"authorization": f"Bearer {key}"}
    told = deployment.post(CHAT, {"model": "2.5-tpg", "messages": [{"role": "user", "content": "hi"}]}, headers)
    assert told.headers["x-ratelimit-limit-requests"] == "60"


def test_the_guides_start_serves_reversed_names_to_pages(sim: SimulatorClient, tmp_path: Path) -> None:
    port = free_port()
    shell = Shell(tmp_path, PORT=str(port), CODEX_BACKEND_URL=sim.backend_url, CODEX_AUTH_ISSUER=sim.issuer_url)
    (tmp_path / ".codexproxy" / "data").mkdir(parents=True, mode=0o700)
    (tmp_path / ".codexproxy" / "data" / "tokens.json").write_text(json.dumps(sim.login()))
    key = shell.run(commands()[0])
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", f"exec env {commands()[1].strip()}"], env=shell.environ, cwd=tmp_path, stdout=log, stderr=log
        )
    try:

        def models() -> Answer | None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patient())
            try:
                connection.request("GET", "/models", None, {"authorization": f"Bearer {key}", "origin": "https://a.b"})
                return Answer(connection.getresponse())
            except OSError:
                return None
            finally:
                connection.close()

        told = wait_until(models, "an answer")
        assert "xedoc-2.5-tpg" in [model["id"] for model in told.json["data"]]
        assert told.headers["access-control-allow-origin"] == "https://a.b"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(patient())


def chunks(told: Answer) -> list[dict[str, Any]]:
    """The chunks of a streamed answer."""
    assert told.status == 200, told.body
    *lines, done = [line[6:] for line in told.body.decode().split("\n\n") if line.startswith("data: ")]
    assert done == "[DONE]"
    return [json.loads(line) for line in lines]


def test_what_cursor_sends_is_answered_piece_by_piece(deployment: Deployment, sim: SimulatorClient) -> None:
    body = json.loads((RECORDINGS / "requests/cursor_ask_mode.json").read_text()) | {"model": REVERSED}
    sim.script({"text": "one two three four five six", "pace_ms": 60})
    connection = deployment.connect()
    headers = {
        "authorization": "Bearer a-long-random-text",
        "user-agent": "Cursor/1.0",
        "origin": "https://cursor.example",
    }
    connection.request("POST", CHAT.removeprefix("/v1"), json.dumps(body), headers)
    response = connection.getresponse()
    assert response.getheader("access-control-allow-origin") == "https://cursor.example"
    times, texts = [], []
    while line := response.readline():
        if line.startswith(b"data: {"):
            chunk = json.loads(line[6:])
            assert chunk["model"] == REVERSED
            texts += [choice["delta"].get("content") or "" for choice in chunk["choices"]]
            times += [time.monotonic()] if texts[-1:] != [""] else []
    connection.close()
    assert "".join(texts) == "one two three four five six"
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert sum(gap > 0.02 for gap in gaps) >= 4
    sent = sim.last_turn()["json"]
    assert sent["model"] == "gpt-5.1"
    assert [tool["name"] for tool in sent["tools"]] == ["read_file", "run_terminal_cmd"]


def test_cursors_agent_sends_a_responses_body_to_the_chat_route(deployment: Deployment, sim: SimulatorClient) -> None:
    recorded = json.loads((RECORDINGS / "requests/cursor_ask_mode.json").read_text())
    body = {
        "model": "xedoc-2.5-tpg-high",
        "input": [{"role": recorded["messages"][0]["role"], "content": recorded["messages"][0]["content"]}],
        "tools": [{"type": "function", **tool["function"]} for tool in recorded["tools"]],
        "reasoning": {"summary": "auto"},
        "stream": True,
        "user": recorded["user"],
    }
    body["input"].append({"role": "user", "content": [{"type": "input_text", "text": "what is in main.py?"}]})
    sim.script(answer(message("I look."), call("read_file", {"path": "main.py"})))
    told = chunks(deployment.post(CHAT, body, {"user-agent": "Cursor/1.0"}))
    assert {chunk["object"] for chunk in told} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in told} == {"xedoc-2.5-tpg-high"}
    calls = [one for chunk in told for choice in chunk["choices"] for one in choice["delta"].get("tool_calls") or []]
    assert calls[0]["function"]["name"] == "read_file"
    assert json.loads("".join(one["function"]["arguments"] for one in calls)) == {"path": "main.py"}
    sent = sim.last_turn()["json"]
    assert (sent["model"], sent["reasoning"]["effort"]) == ("gpt-5.2-codex", "high")


def test_the_guides_table_of_troubles_tells_the_truth(deployment: Deployment, sim: SimulatorClient) -> None:
    ask = {"model": REVERSED, "messages": [{"role": "user", "content": "hi"}]}
    table = GUIDE.read_text().partition("## What can go wrong")[2]
    seen = {}
    seen["wrong key"] = deployment.post(CHAT, ask, {"authorization": "Bearer wrong"})
    sim.rules(usage_limit={"resets_in_seconds": 9000})
    seen["limit of the plan"] = deployment.post(CHAT, ask)
    sim.rules(usage_limit=False, model_supported=True)
    (deployment.service.data_dir / "tokens.json").unlink()
    seen["no login"] = wait_until(lambda: refused(deployment.post(CHAT, ask), 401), "the refusal")
    deployment.service.stop()
    seen["service down"] = deployment.post(CHAT, ask)
    expected = {
        "wrong key": (401, "invalid_api_key"),
        "limit of the plan": (429, "usage_limit_reached"),
        "no login": (401, "not_logged_in"),
        "service down": (503, "overloaded"),
    }
    assert {name: (told.status, told.code) for name, told in seen.items()} == expected
    for status, code in expected.values():
        assert f"**{status}**" in table and f"`{code}`" in table
    assert "%" in seen["limit of the plan"].json["error"]["message"]
    assert 8900 < seen["limit of the plan"].long_wait <= 9001


def refused(told: Answer, status: int) -> Answer | None:
    return told if told.status == status else None


def test_every_path_that_the_guide_names_exists() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)", GUIDE.read_text())
    assert all((GUIDE.parent / link).exists() for link in links if link)
    assert shutil.which("curl")
