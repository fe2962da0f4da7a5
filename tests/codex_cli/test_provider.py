"""The service with the real CLI as its provider: what a key's turns find out about this machine."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codexproxy.access.key_file import KeyFile
from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import answer, call, http, say
from tests.service import Service
from tests.upstream.codex_cli.real_cli import installed, write_config

pytestmark = pytest.mark.real_cli

ONLINE = {"sandbox": "workspace-write", "network_access": True, "include_activity": True}


@pytest.fixture
def service(serve: Callable[..., Service], sim: SimulatorClient, tmp_path: Path) -> Service:
    """A service with a login, keys, a config file and logs, whose only provider is the CLI."""
    sim.rules(instructions_required=False)
    environment = write_config(tmp_path / "codex", sim)
    config = tmp_path / "etc" / "config.json"
    config.parent.mkdir()
    config.write_text(json.dumps({"cli": {"bin": str(installed())}}))
    (tmp_path / "work").mkdir()
    return serve(
        **{name: value for name, value in environment.items() if name == "SIM_TOKEN"},
        CODEX_PROVIDER="codex-cli",
        CODEX_HOME=str(tmp_path / "codex"),
        CODEX_WORKDIR=str(tmp_path / "work"),
        CONFIG_PATH=str(config),
        LOG_DIR=str(tmp_path / "logs"),
        PROXY_API_KEY="the-key-of-the-owner",
    )


def ask(
    service: Service, key: str, x_codex: dict[str, Any] | None = None
) -> tuple[int, dict[str, str], dict[str, Any]]:
    """A turn by this key: status, headers and body."""
    body: dict[str, Any] = {"model": "gpt-5.5", "input": "the-prompt", "stream": False}
    connection = service.connect(60)
    try:
        asked = json.dumps({**body, **({"x_codex": x_codex} if x_codex else {})})
        headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
        connection.request("POST", "/v1/responses", asked, headers)
        found = connection.getresponse()
        return found.status, {name.lower(): value for name, value in found.getheaders()}, json.loads(found.read())
    finally:
        connection.close()


def test_neither_a_key_nor_the_owner_reads_logins_keys_settings_and_logs(
    service: Service, sim: SimulatorClient, tmp_path: Path
) -> None:
    alice = KeyFile(service.data_dir / "keys.json").add("alice", cli="write", cliNetwork=True)
    places = [service.data_dir, tmp_path / "codex", tmp_path / "etc", tmp_path / "logs"]
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert {"tokens.json", "keys.json", "config.toml", "config.json"} <= {path.name for path in files}
    names = " ".join(f"'{path}'" for path in files)
    for key in (alice, "the-key-of-the-owner"):
        sim.script(
            answer(call("exec_command", {"cmd": f"for file in {names}; do wc -c < $file; done; env; echo finished"}))
        )
        sim.script(say("Done."))
        status, _, body = ask(service, key, ONLINE)
        assert status == 200, body
        [output] = [
            item["output"] for item in sim.last_turn()["json"]["input"] if item["type"] == "function_call_output"
        ]
        read = [line for line in str(output).splitlines() if line.strip().isdigit()]
        assert "finished" in str(output) and read == []
        assert "the-key-of-the-owner" not in str(output) and str(service.data_dir) + "/tokens.json" in str(output)


def test_what_a_key_wrote_is_no_order_to_the_owner(service: Service, sim: SimulatorClient, tmp_path: Path) -> None:
    alice = KeyFile(service.data_dir / "keys.json").add("alice", cli="write")
    writes = "echo INJECTED > AGENTS.md; mkdir -p .agents/skills/x; echo INJECTED > .agents/skills/x/SKILL.md; pwd"
    writes += f"; echo INJECTED > {tmp_path}/work/AGENTS.md"
    sim.script(answer(call("exec_command", {"cmd": writes})))
    sim.script(say("Done."), repeat=-1)
    assert ask(service, alice, {"sandbox": "workspace-write"})[0] == 200
    assert list((tmp_path / "work").iterdir()) == []
    for key in ("the-key-of-the-owner", alice):
        assert ask(service, key)[0] == 200
        assert "INJECTED" not in json.dumps(sim.last_turn()["json"])


def test_a_key_without_a_permit_is_refused_before_anything_runs(service: Service, sim: SimulatorClient) -> None:
    eve = KeyFile(service.data_dir / "keys.json").add("eve")
    status, _, body = ask(service, eve)
    assert (status, body["error"]["type"], body["error"]["code"]) == (403, "permission_error", "cli_not_allowed")
    assert sim.turns() == []


def test_a_spent_window_is_told_with_its_reset_and_no_retry(service: Service, sim: SimulatorClient) -> None:
    clock = {"resets_at": int(time.time()) + 7200, "resets_in_seconds": 7200}
    error = {"type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "plus", **clock}
    sim.script(http(429, {"error": error}))
    status, headers, body = ask(service, "the-key-of-the-owner")
    assert (status, body["error"]["code"]) == (429, "usage_limit_reached")
    assert headers["x-should-retry"] == "false"
    assert body["error"]["resets_at"] == pytest.approx(clock["resets_at"], abs=60)
    assert "It resets at" in body["error"]["message"]
