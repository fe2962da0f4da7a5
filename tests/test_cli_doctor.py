"""``codexproxy doctor`` finds what is wrong and says what to do."""

import json
import re
import socket
import time
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from codexproxy.cli import main
from codexproxy.cli.support.checks import (
    Finding,
    callback_port,
    catalogue,
    clock,
    official_texts,
    outcome,
    token_file,
    worst,
)
from codexproxy.cli.support.deep_checks import judge
from codexproxy.simulator.client import SimulatorClient
from codexproxy.storage.files.prompts import PromptStore
from tests.fakes.serving import serving
from tests.service import Service, free_port

KEY = "a-long-random-text"
NOW = 1_795_262_400.0


def doctor(folder: Path, sim: SimulatorClient, *arguments: str, **environ: str) -> Result:
    basics = {
        "HOME": str(folder),
        "DATA_DIR": str(folder / "data"),
        "CODEX_BACKEND_URL": sim.backend_url,
        "CODEX_AUTH_ISSUER": sim.issuer_url,
        "CODEX_CALLBACK_PORT": str(free_port()),
        "PORT": str(free_port()),
    }
    return CliRunner().invoke(main, ["doctor", *arguments], env={**basics, **environ})


def states(result: Result) -> dict[str, str]:
    return {finding["name"]: finding["state"] for finding in json.loads(result.stdout)}


def of(service: Service, **more: str) -> dict[str, str]:
    return {"DATA_DIR": str(service.data_dir), "PORT": str(service.port), **more}


def test_a_fresh_machine_is_told_to_log_in_and_to_serve(tmp_path: Path, sim: SimulatorClient) -> None:
    done = doctor(tmp_path, sim)
    assert done.exit_code == 1
    for words in ("FAIL  login: nobody is signed in", "codexproxy login", "codexproxy serve", "ok    upstream"):
        assert words in done.output
    assert "codexproxy prompts sync" in done.output
    assert states(doctor(tmp_path, sim, "--json"))["instructions"] == "warn"


def test_settings_that_let_every_page_in_are_a_warning_with_what_to_do(tmp_path: Path, sim: SimulatorClient) -> None:
    done = doctor(tmp_path, sim, CORS_ALLOW_ORIGINS="*")
    assert "WARN  access: CORS_ALLOW_ORIGINS" in done.output
    assert "set PROXY_API_KEY" in done.output
    for environ in ({}, {"CORS_ALLOW_ORIGINS": "*", "PROXY_API_KEY": KEY}):
        assert states(doctor(tmp_path, sim, "--json", **environ))["access"] == "ok"


def test_official_instructions_are_counted_and_checked(tmp_path: Path, sim: SimulatorClient) -> None:
    store = PromptStore(tmp_path / "data" / "prompts")
    store.save({"gpt-5.2": ["You are."], "gpt-5.1": ["You are."]}, "catalogue", NOW)
    assert official_texts(tmp_path / "data").text.startswith(
        "official texts of 2 models, the newest from the catalogue"
    )
    (tmp_path / "data" / "prompts" / "gpt-5.2.md").write_text("You were.")
    damaged = official_texts(tmp_path / "data")
    assert (damaged.state, damaged.text) == ("warn", "gpt-5.2.md changed")


def test_a_good_deployment_passes_every_check_and_real_questions(
    serve: Callable[..., Service], sim: SimulatorClient, tmp_path: Path
) -> None:
    service = serve(PROXY_API_KEY=KEY, CORS_ALLOW_ORIGINS="*")
    service.data_dir.chmod(0o700)
    sim.script({"text": "ready"})
    sim.script({"items": [{"type": "function_call", "name": "report", "arguments": '{"number":7}'}]})
    sim.script({"text": '{"ok": true}'})
    sim.script({"text": "one, two, three, four, five, six", "pace_ms": 100}, repeat=2)
    more = of(service, PROXY_API_KEY=KEY)
    done = doctor(tmp_path, sim, "--deep", "--json", "--url", f"{service.base_url}/v1", **more)
    found = states(done)
    assert done.exit_code == 0, done.output
    assert {name for name, state in found.items() if state == "ok"} >= {
        "login",
        "token file",
        "callback port",
        "upstream",
        "server",
        "ready",
        "catalogue",
        "chat",
        "tool call",
        "JSON answer",
        "stream",
        "public stream",
        "CORS",
    }
    assert KEY not in done.output


class Edge(BaseHTTPRequestHandler):
    """An edge that distrusts everybody, and whose clock is an hour behind."""

    def do_GET(self) -> None:
        page = b"<!DOCTYPE html><title>Just a moment...</title>"
        self.send_response_only(403)
        self.send_header("date", formatdate(time.time() - 3600, usegmt=True))
        self.send_header("content-length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: Any) -> None:
        """Nothing of this belongs on the terminal."""


def test_a_challenge_page_and_a_wrong_clock_are_recognised(tmp_path: Path, sim: SimulatorClient) -> None:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Edge)) as edge:
        done = doctor(tmp_path, sim, CODEX_BACKEND_URL=f"http://127.0.0.1:{edge.server_port}/backend-api")
    assert "challenge page" in done.output
    assert "egress proxy" in done.output
    assert re.search(r"FAIL  clock: 360\d s ahead", done.output)


def test_an_upstream_that_is_not_there_is_told(tmp_path: Path, sim: SimulatorClient) -> None:
    done = doctor(tmp_path, sim, CODEX_BACKEND_URL=f"http://127.0.0.1:{free_port()}")
    assert "cannot be reached" in done.output


def test_a_wrong_key_is_told(serve: Callable[..., Service], sim: SimulatorClient, tmp_path: Path) -> None:
    service = serve(PROXY_API_KEY=KEY)
    done = doctor(tmp_path, sim, **of(service, PROXY_API_KEY="another-key"))
    assert done.exit_code == 1
    assert "FAIL  server" in done.output


def test_a_bundle_holds_findings_and_logs_and_no_secret(tmp_path: Path, sim: SimulatorClient) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "2026-11-21-error.log").write_text(f"it broke with {KEY} and Bearer sk-abcdefghijkl\n")
    tokens = sim.login()
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "tokens.json").write_text(json.dumps(tokens))
    bundle = tmp_path / "bundle.json"
    doctor(tmp_path, sim, "--bundle", str(bundle), PROXY_API_KEY=KEY, LOG_DIR=str(logs))
    text = bundle.read_text()
    content: Any = json.loads(text)
    assert any(finding["name"] == "login" for finding in content["findings"])
    assert content["logs"]["2026-11-21-error.log"]
    for secret in (KEY, "sk-abcdefghijkl", tokens["access_token"], tokens["refresh_token"]):
        assert secret not in text


def test_a_bad_setting_ends_with_2(tmp_path: Path, sim: SimulatorClient) -> None:
    assert doctor(tmp_path, sim, PORT="many").exit_code == 2


@pytest.mark.parametrize(
    ("skew", "state"), [(0, "ok"), (-20, "ok"), (60, "warn"), (-60, "warn"), (900, "fail"), (-900, "fail")]
)
def test_the_clock_is_compared_with_upstreams(skew: float, state: str) -> None:
    assert clock(formatdate(NOW - skew, usegmt=True), NOW).state == state


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_a_clock_that_says_nothing_is_no_finding(date: str | None) -> None:
    assert clock(date, NOW).state == "skipped"


def test_a_token_file_that_others_can_read_is_told_with_the_command(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text("{}")
    path.chmod(0o644)
    tmp_path.chmod(0o700)
    found = token_file(tmp_path)
    assert (found.state, "chmod 600" in found.advice) == ("warn", True)
    path.chmod(0o600)
    assert token_file(tmp_path).state == "ok"
    tmp_path.chmod(0o755)
    assert "chmod 700" in token_file(tmp_path).advice


def test_a_port_in_use_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert callback_port(taken.getsockname()[1]).state == "warn"


@pytest.mark.parametrize(
    ("arrivals", "state"),
    [
        ([], "fail"),
        ([0.5, 1.0, 1.5, 2.0], "ok"),
        ([2.9, 2.95, 3.0], "warn"),
        ([3.0], "warn"),
        ([0.30, 0.31], "skipped"),
    ],
)
def test_a_stream_that_arrives_at_once_was_held_back(arrivals: list[float], state: str) -> None:
    assert judge("stream", arrivals).state == state


def test_no_models_is_a_failure() -> None:
    assert catalogue([]).state == "fail"


def test_a_check_that_breaks_is_a_finding() -> None:
    def broken() -> Finding:
        raise RuntimeError("oh")

    found = outcome("this", broken)
    assert (found.name, found.state, "RuntimeError: oh" in found.text) == ("this", "fail", True)
    assert worst([found]) == 1
