"""A running `codexproxy serve` takes new settings at SIGHUP, and keeps the old ones where the new are broken."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.service import ROOT, Service, free_port, wait_until

ASK = {"input": "hi"}


class Served(Service):
    """The service as `codexproxy serve` runs it in a folder of its own."""

    def start(self, *arguments: str) -> "Served":
        """Starts it and waits until it answers."""
        command = [sys.executable, "-m", "codexproxy", "serve", *arguments]
        environ = {**self.environ, "PYTHONPATH": str(ROOT), "CONFIG_PATH": str(self.config)}
        del environ["PORT"]
        with self.open_log() as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(self._answers, "an answer from /health")
        return self

    @property
    def folder(self) -> Path:
        """Where it runs, and where its ``.env`` is."""
        return self.data_dir.parent

    @property
    def config(self) -> Path:
        """Its config file."""
        return self.folder / "config.json"

    def configure(self, port: int = 0, **sections: dict[str, object]) -> None:
        """Writes its config file."""
        server = {"port": port or self.port, **sections.get("server", {})}
        self.config.write_text(json.dumps({**sections, "server": server}))

    def dotenv(self, *lines: str) -> None:
        """Writes its ``.env``."""
        (self.folder / ".env").write_text("\n".join(lines))

    def reload(self) -> None:
        """Sends SIGHUP and waits until the worker of before has gone."""
        assert self.process is not None
        exits = self.log.count("Worker exiting")
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.log.count("Worker exiting") > exits, "the old worker's end")


@pytest.fixture
def served(sim: SimulatorClient, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Writes config file and ``.env``, and starts the service: ``served({"models": …}, "LOG_LEVEL=info")``."""
    started: list[Served] = []

    def start(config: dict[str, Any], *dotenv: str, arguments: tuple[str, ...] = ()) -> Served:
        service = Served(tmp_path, sim)
        started.append(service)
        service.configure(**config)
        service.dotenv(*dotenv)
        service.login()
        return service.start(*arguments)

    yield start
    for service in started:
        service.stop()


def test_a_reload_takes_new_lines_of_the_config_file_and_of_dotenv(served: Callable[..., Served]) -> None:
    service = served({}, "CODEX_MODELS_STRICT=0")
    assert service.post("/v1/responses", ASK).code == "missing_required_parameter"
    service.configure(models={"default": "gpt-5.2"}, server={"maxBodyBytes": 400})
    service.dotenv("CODEX_MODELS_STRICT=1")
    service.reload()
    assert service.post("/v1/responses", ASK).status == 200
    assert service.post("/v1/responses", {"input": "x" * 500}).status == 413
    assert service.post("/v1/responses", {**ASK, "model": "made-up"}).code == "model_not_found"


def test_a_reload_leaves_what_the_command_line_said(served: Callable[..., Served]) -> None:
    service = served({"server": {"workers": 1}}, arguments=("--workers", "2"))
    service.configure(server={"workers": 3}, models={"default": "gpt-5.2"})
    service.reload()
    wait_until(lambda: service.log.count("Worker exiting") == 2, "both old workers' end")
    assert service.post("/v1/responses", ASK).status == 200
    assert service.log.count("Booting worker") == 4


MISTAKES = (
    ('{"models": {"defualt": "x"}}', "", "models.default"),
    ("{", "", "not valid JSON"),
    ("{}", "CODEX_TIMEOUT=soon", "CODEX_TIMEOUT"),
    ("{}", "this is no line", ".env, line 1"),
)


def test_a_reload_with_a_mistake_changes_nothing_and_names_it(served: Callable[..., Served]) -> None:
    service = served({"models": {"default": "gpt-5.2"}})
    for number, (config, dotenv, word) in enumerate(MISTAKES, 1):
        service.config.write_text(config)
        service.dotenv(dotenv)
        service.reload()
        assert service.log.count("Not reloaded, the earlier settings stay in force") == number
        assert word in service.log
        assert service.post("/v1/responses", ASK).status == 200


def test_a_reload_to_a_port_that_is_taken_keeps_the_old_one(served: Callable[..., Served]) -> None:
    service = served({"models": {"default": "gpt-5.2"}})
    with socket.create_server(("127.0.0.1", 0)) as other:
        service.configure(port=other.getsockname()[1])
        service.reload()
    assert "Not reloaded" in service.log
    assert service.post("/v1/responses", ASK).status == 200


def test_a_reload_moves_to_a_port_that_is_free_and_a_second_one_stays_there(served: Callable[..., Served]) -> None:
    service = served({"models": {"default": "gpt-5.2"}})
    service.configure(port=(port := free_port()), models={"default": "gpt-5.2"})
    for _ in range(2):
        service.reload()
        assert service.behind(port).post("/v1/responses", ASK).status == 200
    assert "Not reloaded" not in service.log


def test_a_reload_reads_a_new_key_of_a_relay_from_dotenv(served: Callable[..., Served], sim: SimulatorClient) -> None:
    row = {"name": "relay", "providerType": "openai", "url": f"{sim.backend_url}/codex", "apiKeyEnv": "RELAY_KEY"}
    service = served({"providers": [row], "models": {"default": "gpt-5.2"}}, "RELAY_KEY=first-key")
    service.post("/v1/responses", ASK)
    service.dotenv("RELAY_KEY=second-key")
    service.reload()
    service.post("/v1/responses", ASK)
    keys = [turn["headers"].get("authorization") for turn in sim.turns()]
    assert keys == ["Bearer first-key", "Bearer second-key"]
