"""The commands say what they do, end with the promised codes and never start something unsafe."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from codexproxy.cli import COMMANDS
from codexproxy.cli.serve import login_hint
from codexproxy.settings import load_settings
from tests.patience import patient

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def run(home: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a home folder and with an environment of its own."""
    basics = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "PORT": "1"}
    return subprocess.run(
        [sys.executable, "-m", "codexproxy", *arguments],
        env={**basics, **environ},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )


class ModelServer:
    """Answers every request with one status and body, and keeps the headers it saw."""

    def __init__(self, status: int, body: bytes) -> None:
        seen = self.seen = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append({name.lower(): value for name, value in self.headers.items()} | {"path": self.path})
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Stays silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = str(self._server.server_port)

    def __enter__(self) -> "ModelServer":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def two_models() -> Iterator[ModelServer]:
    rows = [{"id": "gpt-9", "reasoning_efforts": ["low", "high"], "context_window": 1000}, {"id": "gpt-8"}]
    with ModelServer(200, json.dumps({"object": "list", "data": rows}).encode()) as server:
        yield server


def test_help_lists_every_command_with_a_sentence(home: Path) -> None:
    shown = run(home, "--help")
    assert shown.returncode == 0
    assert all(f"  {name}" in shown.stdout for name in COMMANDS)
    assert run(home, "--version").stdout.startswith("codexproxy, version ")


def test_an_unknown_command_is_wrong_usage(home: Path) -> None:
    assert run(home, "dance").returncode == 2


@pytest.mark.parametrize("command", ["serve", "models"])
def test_wrong_settings_end_a_command_with_all_problems(home: Path, command: str) -> None:
    done = run(home, command, PORT="many", LOG_LEVEL="loud")
    assert done.returncode == 2
    assert "PORT: " in done.stderr
    assert "LOG_LEVEL: " in done.stderr


@pytest.mark.parametrize("arguments", [["serve"], ["serve", "--host", "0.0.0.0"]])
def test_a_public_address_without_a_key_is_refused_in_one_sentence(home: Path, arguments: list[str]) -> None:
    done = run(home, *arguments, HOST="127.0.0.1" if len(arguments) > 1 else "::")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "PROXY_API_KEY" in done.stderr


def test_serve_reads_the_dotenv_file_of_its_folder(home: Path) -> None:
    (home / ".env").write_text("PORT=7\nLOG_LEVEL=loud\n")
    (home / ".env").chmod(0o600)
    assert "LOG_LEVEL" in run(home, "serve").stderr
    assert "0.0.0.0:1" in run(home, "serve", "--host", "0.0.0.0", LOG_LEVEL="info").stderr


def test_options_beat_the_one_address_of_the_environment(home: Path) -> None:
    done = run(home, "serve", "--host", "0.0.0.0", "--port", "77", CODEX_OPENAI_PROXY_ADDR="127.0.0.1:1")
    assert "0.0.0.0:77" in done.stderr


def test_without_a_login_serve_says_how_to_get_one(home: Path) -> None:
    environ = {"HOME": str(home)}
    assert "codexproxy login" in str(login_hint(load_settings(environ)))
    assert login_hint(load_settings(environ | {"CODEX_TOKENS_JSON": "{}"})) is None
    assert login_hint(load_settings(environ | {"CODEX_PROVIDER": "codex-cli"})) is None
    tokens = home / ".codexproxy" / "data" / "tokens.json"
    tokens.parent.mkdir(parents=True)
    tokens.write_text("{}")
    assert login_hint(load_settings(environ)) is None


def test_models_come_from_the_running_server(home: Path, two_models: ModelServer) -> None:
    done = run(home, "models", PORT=two_models.port, PROXY_API_KEY="the-key", HTTP_PROXY="http://127.0.0.1:1")
    assert done.returncode == 0
    assert [line.split() for line in done.stdout.splitlines()] == [["gpt-9", "1000", "low,", "high"], ["gpt-8"]]
    (request,) = two_models.seen
    assert (request["path"], request["authorization"]) == ("/v1/models", "Bearer the-key")


def test_models_as_json_are_the_servers_list(home: Path, two_models: ModelServer) -> None:
    listed = json.loads(run(home, "models", "--json", PORT=two_models.port).stdout)
    assert [row["id"] for row in listed["data"]] == ["gpt-9", "gpt-8"]


def test_without_a_server_the_built_in_models_are_listed(home: Path) -> None:
    done = run(home, "models", "--json")
    assert done.returncode == 0
    rows = {row["id"]: row for row in json.loads(done.stdout)["data"]}
    assert rows["gpt-5.1-codex-mini"]["reasoning_efforts"] == ["medium", "high"]
    assert "no server is running" in run(home, "models").stderr


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b'{"error": {"message": "Send the key."}}', "Send the key."),
        (500, b"{}", "status 500"),
        (200, b"<html>", "not like codexproxy"),
        (200, b"[]", "refused"),
    ],
)
def test_a_server_that_does_not_answer_the_question_is_a_failure(
    home: Path, status: int, body: bytes, words: str
) -> None:
    with ModelServer(status, body) as server:
        done = run(home, "models", PORT=server.port)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_says_at_once_that_its_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "codexproxy", "serve", "--port", str(port)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=patient(30), check=False
        )
    assert done.returncode == 1
    assert f"Port {port}" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1


def test_commands_start_without_what_only_their_work_needs() -> None:
    script = (
        "import sys; from importlib import import_module; from codexproxy.cli import COMMANDS\n"
        "for name in COMMANDS.values(): import_module(f'codexproxy.cli.{name}')\n"
        "print([name for name in ('requests', 'urllib3', 'flask', 'gunicorn', 'limits') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
