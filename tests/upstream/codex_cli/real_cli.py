"""The real Codex CLI, installed once beside the tests, with the simulator as its upstream."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.storage.files.locks import HostLock

VERSION = "0.169.0"
CACHE = Path(__file__).resolve().parents[3] / ".cache" / "codex-cli"

# One download serves all test processes; it is large.
INSTALL_SECONDS = 600.0


def installed() -> Path:
    """The executable; installed from the npm registry when it is not there yet.

    Skips the test where there is no npm.
    """
    folder = CACHE / VERSION
    bin = folder / "node_modules" / ".bin" / "codex"
    with HostLock(CACHE / "lock").held(INSTALL_SECONDS):
        if not bin.exists():
            _install(folder)
    return bin


def _install(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm, which the Codex CLI is installed with, is not on this machine")
    command = [npm, "install", "--no-audit", "--no-fund", f"--prefix={folder}", f"@openai/codex@{VERSION}"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def write_config(home: Path, sim: SimulatorClient, **more: str) -> dict[str, str]:
    """Makes the simulator the CLI's provider.

    Returns:
        The environment to run it in.
    """
    tokens = sim.login()
    home.mkdir(parents=True, exist_ok=True)
    lines = [
        'model_provider = "sim"',
        "[model_providers.sim]",
        'name = "sim"',
        f'base_url = "{more.get("base_url", sim.backend_url + "/codex")}"',
        'wire_api = "responses"',
        'env_key = "SIM_TOKEN"',
        f'http_headers = {{ "chatgpt-account-id" = "{tokens["account_id"]}" }}',
        "request_max_retries = 0",
        "stream_max_retries = 0",
    ]
    (home / "config.toml").write_text("\n".join(lines) + "\n")
    return {"PATH": os.environ["PATH"], "HOME": str(home), "SIM_TOKEN": tokens["access_token"]}
