"""With CODEX_LOCAL_ONLY nothing leaves the machine, whatever the CLI's configuration says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codexproxy.upstream.codex_cli.security.landlock import can_restrict
from tests.codex_cli.walled_in import PORTS
from tests.patience import patient
from tests.upstream.codex_cli.real_cli import installed

pytestmark = pytest.mark.real_cli

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0

# Without the rights of an administrator a namespace of users has to come first.
WAYS = (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"])


def unshare() -> list[str]:
    """The command that gives a program a network of its own on this machine."""
    return next((way for way in WAYS if subprocess.run([*way, "true"], capture_output=True).returncode == 0), WAYS[0])


def told(folder: Path, transport: str, *, local_only: bool) -> dict[str, Any]:
    """What ``walled_in`` tells of a turn."""
    installed()
    command = [
        *unshare(),
        sys.executable,
        "-m",
        "tests.codex_cli.walled_in",
        str(folder),
        transport,
        str(int(local_only)),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=patient(PATIENCE))
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("transport", ["exec", "app-server"])
def test_a_configuration_that_tells_the_world_everything_tells_it_nothing(tmp_path: Path, transport: str) -> None:
    found = told(tmp_path, transport, local_only=True)
    if not can_restrict():
        # All that an old kernel does not hold is the program that the provider's key comes from.
        found["heard"].pop("key", None)
    assert found == {"answer": "Hello", "heard": {}, "asked": True}


def test_the_same_configuration_is_heard_without_local_only(tmp_path: Path) -> None:
    found = told(tmp_path, "exec", local_only=False)
    assert found["answer"] == "Hello"
    assert {"notify", "otlp-grpc", "otlp-http", "mcp", "stdio", "proxy", "key"} <= set(found["heard"]) <= set(PORTS)
    assert "TOP-SECRET-PROMPT" in " ".join(found["heard"]["notify"])
