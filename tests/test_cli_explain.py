"""``codexproxy explain`` tells what would be sent, without a login, a network or a word upstream."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.patience import patient
from tests.service import Service, free_port

ROOT = Path(__file__).resolve().parent.parent
ASK = {"model": "gpt-5.2-high", "messages": [{"role": "user", "content": "hi"}]}


def explain(folder: Path, body: Any, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs the command with a body on standard input."""
    text = body if isinstance(body, str) else json.dumps(body)
    basics = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "PORT": "1"}
    # Whoever asked the network would wait for nobody here.
    nowhere = {"CODEX_BACKEND_URL": f"http://127.0.0.1:{free_port()}"}
    return subprocess.run(
        [sys.executable, "-m", "codexproxy", "explain", *(arguments or ("-",))],
        env={**basics, **nowhere, **environ},
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_request_is_explained_offline_and_without_a_login(tmp_path: Path) -> None:
    body = {**ASK, "temperature": 0.3, "stop": "END", "n": 2}
    (tmp_path / "body.json").write_text(json.dumps(body))
    done = explain(tmp_path, "", "body.json")
    assert (done.returncode, done.stderr) == (0, "")
    shown = [line.split() for line in done.stdout.splitlines()]
    assert ["Route", "/v1/chat/completions"] in shown
    assert ["Model", "gpt-5.2-high", "->", "gpt-5.2"] in shown
    assert ["Effort", "high"] in shown
    assert ["Ignored", "temperature"] in shown
    assert ["Adapted", "stop:emulated"] in shown
    assert ["Emulated", "stop", '["END"]'] in shown
    assert ["n", "2"] in shown
    assert ["Authorization:", "Bearer", "***"] in shown
    assert done.stdout.count('"store": false') == 2


def test_the_explanation_as_json_holds_what_would_be_sent(tmp_path: Path) -> None:
    answer = told(explain(tmp_path, ASK, "-", "--json"))
    assert (answer["route"], answer["model"], answer["ignored"]) == ("/v1/chat/completions", "gpt-5.2-high", [])
    (sent,) = answer["upstream"]
    assert sent["body"]["model"] == "gpt-5.2"
    assert sent["body"]["input"][0]["content"] == [{"type": "input_text", "text": "hi"}]


@pytest.mark.parametrize(
    ("body", "arguments", "route"),
    [
        (ASK, [], "/v1/chat/completions"),
        ({"model": "gpt-5.2", "input": "hi"}, [], "/v1/responses"),
        ({"model": "gpt-5.2", "input": "hi"}, ["--route", "chat"], "/v1/chat/completions"),
        ({"model": "gpt-5.2", "prompt": ["once", "twice"]}, [], "/v1/completions"),
        ({"model": "gpt-5.2", "input": "hi", "prompt_cache_key": "k"}, [], "/v1/responses"),
    ],
)
def test_the_kind_of_a_request_is_seen_or_named(
    tmp_path: Path, body: dict[str, Any], arguments: list[str], route: str
) -> None:
    answer = told(explain(tmp_path, body, "-", "--json", *arguments))
    assert answer["route"] == route
    assert len(answer["upstream"]) == (2 if "prompt" in body else 1)


def test_the_clients_headers_count(tmp_path: Path) -> None:
    body = {**ASK, "messages": [{"role": "user", "content": "hi"}]}
    header = "session_id: 01999999-0000-7000-8000-000000000001"
    (sent,) = told(explain(tmp_path, body, "-", "--json", "-H", header))["upstream"]
    assert sent["body"]["prompt_cache_key"] == "01999999-0000-7000-8000-000000000001"


def test_settings_count_and_a_service_with_a_key_needs_none_here(tmp_path: Path) -> None:
    environ = {"PROXY_API_KEY": "the-key", "CODEX_MODEL_ALIASES": '{"fast": "gpt-5.2"}'}
    done = explain(tmp_path, {**ASK, "model": "fast"}, "-", "--json", **environ)
    assert told(done)["upstream"][0]["body"]["model"] == "gpt-5.2"
    assert "the-key" not in done.stdout


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_refused_request_is_a_failure_with_its_reason(tmp_path: Path, arguments: list[str]) -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    done = explain(tmp_path, {**ASK, "messages": [{"role": "user", "content": [audio]}]}, "-", *arguments)
    assert done.returncode == 1
    assert "400 unsupported_content (messages[0].content[0])" in done.stderr
    if arguments:
        assert json.loads(done.stdout)["error"]["code"] == "unsupported_content"


@pytest.mark.parametrize(
    ("body", "arguments", "words"),
    [
        ("{nope", [], "not JSON"),
        ("[" * 100_000, [], "not JSON"),
        ({"model": "gpt-5.2"}, [], "--route"),
        ([ASK], [], "--route"),
        (ASK, ["-H", "no header"], "NAME:VALUE"),
        (ASK, ["--route", "images"], "--route"),
    ],
)
def test_what_cannot_be_a_request_is_wrong_usage(tmp_path: Path, body: Any, arguments: list[str], words: str) -> None:
    done = explain(tmp_path, body, "-", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_wrong_usage(tmp_path: Path) -> None:
    assert explain(tmp_path, "", "nowhere.json").returncode == 2


def test_a_running_server_may_be_asked_instead(tmp_path: Path, service: Service, sim: SimulatorClient) -> None:
    answer = told(explain(tmp_path, {**ASK, "seed": 7}, "-", "--json", "--url", f"{service.base_url}/v1/"))
    assert answer["ignored"] == ["seed"]
    assert answer["upstream"][0]["url"].startswith(sim.backend_url)
    assert sim.turns() == []


def test_a_server_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    done = explain(tmp_path, ASK, "-", "--url", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "No server answers" in done.stderr
    assert "Traceback" not in done.stderr
