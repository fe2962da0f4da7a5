"""Planted secrets appear nowhere: in no answer, log line, metric, file or command line, whatever happens."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codexproxy.access.keys import hash_key, new_key
from codexproxy.simulator.client import SimulatorClient
from tests.service import Answer, Service, wait_until
from tests.terminal import run

OWNER_KEY = "planted-owner-key-4711"
WRONG_KEY = "planted-wrong-key-4712"
RELAY_KEY = "planted-relay-key-4713"
ASK: dict[str, Any] = {"model": "gpt-5.2", "input": "hi"}


class Planted:
    """A service full of secrets, and everything it ever said."""

    def __init__(self, serve: Callable[..., Service], folder: Path, sim: SimulatorClient) -> None:
        self.sim = sim
        self.ann = new_key()
        relay = {"name": "relay", "groupTag": "relay", "providerType": "openai", "apiKeyEnv": "RELAY_KEY"}
        relay["url"] = f"{sim.backend_url}/codex"
        users = [
            {"name": "ann", "apiKeyHash": hash_key(self.ann)},
            {"name": "rita", "apiKeyHash": hash_key("rita-key"), "providerGroup": "relay"},
        ]
        config = folder / "config.json"
        config.write_text(json.dumps({"providers": [{"name": "main"}, relay], "users": users}))
        self.environ = {"PROXY_API_KEY": OWNER_KEY, "RELAY_KEY": RELAY_KEY, "CONFIG_PATH": str(config)}
        self.service = serve(
            login=False, LOG_LEVEL="debug", ENABLE_REQUEST_LOGGING="1", LOG_DIR=str(folder / "logs"), **self.environ
        )
        self.folder = folder
        self.tokens = self.service.login()
        self.said: list[str] = []

    @property
    def secrets(self) -> dict[str, str]:
        """What must not be found, by what it is."""
        tokens = {name: self.tokens[name] for name in ("access_token", "refresh_token", "id_token")}
        return {"owner": OWNER_KEY, "wrong": WRONG_KEY, "relay": RELAY_KEY, "ann": self.ann, **tokens}

    def ask(self, key: str, path: str = "/v1/responses", body: Any = ASK, **headers: str) -> Answer:
        """A request whose answer is kept."""
        method = "GET" if body is None else "POST"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.service.request(method, path, body, {"authorization": f"Bearer {key}", **named})
        self.said.append(f"{answer.headers} {answer.body.decode(errors='replace')}")
        return answer

    def found(self) -> list[tuple[str, str]]:
        """Which secret is found where."""
        places = {"an answer": "\n".join(self.said), "the log": self.service.log, **self._files(), **self._processes()}
        return [
            (name, place) for place, text in places.items() for name, secret in self.secrets.items() if secret in text
        ]

    def _files(self) -> dict[str, str]:
        kept = {"tokens.json", "config.json"}
        paths = [path for path in self.folder.rglob("*") if path.is_file() and path.name not in kept]
        return {str(path): path.read_bytes().decode("latin-1") for path in paths}

    def _processes(self) -> dict[str, str]:
        lines = Path("/proc").glob("[0-9]*/cmdline")
        return {str(path): text for path in lines if (text := _read(path))}


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("latin-1")
    except OSError:
        return ""


@pytest.fixture
def planted(serve: Callable[..., Service], tmp_path: Path, sim: SimulatorClient) -> Iterator[Planted]:
    planted = Planted(serve, tmp_path, sim)
    yield planted


def test_secrets_appear_nowhere(planted: Planted) -> None:
    sim = planted.sim
    for key in (OWNER_KEY, planted.ann):
        assert planted.ask(key).status == 200
        assert planted.ask(key, stream="1", body={**ASK, "stream": True}).status == 200
        assert planted.ask(key, x_codexproxy_dry_run="1").status == 200
        for path in ("/v1/models", "/v1/quota", "/ready"):
            assert planted.ask(key, path, None).status == 200, path
        for path in ("/auth/status", "/metrics"):
            assert planted.ask(key, path, None).status == (200 if key == OWNER_KEY else 403), path
    assert planted.ask(WRONG_KEY).status == 401
    assert planted.ask(WRONG_KEY, "/auth/status", None).status == 401
    # The relay does not know its key, and says which one it got.
    sim.script({"status": 401, "json": {"detail": f"Unknown key {RELAY_KEY}"}}, repeat=2)
    assert planted.ask("rita-key").status == 401
    # Refusals of upstream that quote what was sent.
    token = planted.tokens["access_token"]
    for status in (400, 403, 500):
        sim.script(
            {"status": status, "json": {"error": {"message": f"Bearer {token} is not good", "code": "x"}}}, repeat=3
        )
        planted.ask(OWNER_KEY)
    sim.reset()
    # A login that nobody knows any more: it is refreshed in vain.
    planted.ask(OWNER_KEY)
    broken = b'{"model": "gpt-5.2", "input": ' + OWNER_KEY.encode()
    assert planted.ask(OWNER_KEY, body=broken).status == 400
    assert planted.ask(OWNER_KEY, f"/no/such/path/{WRONG_KEY[:4]}", None).status == 404
    wait_until(lambda: planted.service.log.count("request end") >= len(planted.said) - 4, "the last log line")
    planted.service.stop()
    assert planted.found() == []


def test_commands_do_not_show_secrets_either(planted: Planted, tmp_path: Path) -> None:
    environ = {"DATA_DIR": str(planted.service.data_dir), **planted.environ}
    environ |= {"CODEX_BACKEND_URL": planted.sim.backend_url, "CODEX_AUTH_ISSUER": planted.sim.issuer_url}
    for arguments in (
        ["keys", "list"],
        ["keys", "list", "--json"],
        ["quota"],
        ["usage"],
        ["status"],
        ["prompts", "list"],
    ):
        done = run(tmp_path, *arguments, **environ)
        planted.said.append(done.stdout + done.stderr)
    assert planted.found() == []
