"""The local Codex CLI beside the HTTP backend: who answers what, over real HTTP."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.patience import patient
from tests.service import Service

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "gpt-5.2", "messages": [{"role": "user", "content": "hi"}]}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture
def both(serve: Callable[..., Service], tmp_path: Path) -> Service:
    config = tmp_path / "config.json"
    rows = [{"name": "main"}, {"name": "local", "providerType": "codex-cli", "priority": 1}]
    config.write_text(json.dumps({"providers": rows}))
    return serve(CONFIG_PATH=str(config), CODEX_BIN="/nonexistent/codex")


@pytest.mark.parametrize("wishes", [{"sandbox": "everything"}, {"unknown": 1}, "read-only", {"workdir": 3}])
def test_wishes_for_the_cli_are_checked_whoever_answers(both: Service, wishes: Any) -> None:
    answer = both.post(CHAT, {**ASK, "x_codex": wishes})
    assert answer.status == 400
    assert answer.json["error"]["param"].startswith("x_codex")


def test_wishes_are_reported_as_ignored_when_the_http_backend_answers(both: Service) -> None:
    answer = both.post(CHAT, {**ASK, "x_codex": {"sandbox": "read-only"}})
    assert answer.status == 200
    assert answer.headers["x-codexproxy-backend"] == "main"
    assert answer.headers["x-codexproxy-ignored"] == "x_codex"


def test_tools_do_not_fail_over_to_a_cli_that_cannot_take_them(both: Service, sim: SimulatorClient) -> None:
    sim.script({"status": 503, "json": {"error": {"code": "server_is_overloaded"}}}, repeat=4)
    answer = both.post(CHAT, {**ASK, "tools": TOOLS})
    assert (answer.status, answer.code) == (503, "overloaded")


def test_a_missing_cli_is_one_clear_line(both: Service) -> None:
    answer = both.post(CHAT, {**ASK, "model": "cli/gpt-5.2"})
    assert (answer.status, answer.code) == (502, "codex_cli_failed")
    assert "/nonexistent/codex" in answer.json["error"]["message"]


def test_a_cli_that_hangs_holds_no_readiness_up_while_a_login_works(
    serve: Callable[..., Service], tmp_path: Path
) -> None:
    config, program = tmp_path / "config.json", tmp_path / "codex"
    rows = [{"name": "main"}, {"name": "local", "providerType": "codex-cli", "priority": 1}]
    config.write_text(json.dumps({"providers": rows}))
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    service = serve(CONFIG_PATH=str(config), CODEX_BIN=str(program))
    began = time.monotonic()
    assert service.get("/ready").status == 200
    assert time.monotonic() - began < patient(5)


@pytest.mark.parametrize(
    ("row", "environ", "reason"),
    [
        ({"url": "https://relay.example/v1", "apiKeyEnv": "RELAY_KEY"}, {"RELAY_KEY": "k"}, ""),
        ({"url": "https://relay.example/v1", "apiKeyEnv": "RELAY_KEY"}, {}, "set RELAY_KEY"),
        ({"providerType": "openai", "url": "http://127.0.0.1:9/v1"}, {}, ""),
        ({"providerType": "openai"}, {"CODEX_MAX_PARALLEL_REQUESTS": "2"}, "set OPENAI_API_KEY"),
        ({}, {"CODEX_LOCAL_ONLY": "1", "CODEX_BACKEND_URL": "https://elsewhere.example"}, "CODEX_LOCAL_ONLY"),
    ],
)
def test_a_single_provider_is_ready_when_it_has_what_it_needs(
    serve: Callable[..., Service], tmp_path: Path, row: dict[str, str], environ: dict[str, str], reason: str
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"providers": [{"name": "only", **row}]}))
    answer = serve(CONFIG_PATH=str(config), **environ).get("/ready")
    assert answer.status == (503 if reason else 200)
    assert reason in str(answer.json.get("reasons", ""))
