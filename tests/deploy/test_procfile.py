"""The Procfile as hosts of the Heroku kind run it: a port, a key and a login in the environment, nothing else."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.deploy.smoke import KEY, smoke
from tests.patience import patient
from tests.service import ROOT, free_port, wait_until


def own_address() -> str | None:
    """An IPv4 address of this machine that is not the loopback one."""
    if shutil.which("hostname") is None:
        return None
    done = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False)
    return next((word for word in done.stdout.split() if "." in word and not word.startswith("127.")), None)


def alive(url: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(f"{url}/health", timeout=2) as answer:
            return int(answer.status) == 200
    except OSError:
        return False


@pytest.fixture
def environ(tmp_path: Path, sim: SimulatorClient) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    upstream = {"CODEX_BACKEND_URL": sim.backend_url, "CODEX_AUTH_ISSUER": sim.issuer_url}
    return {"PATH": path, "HOME": str(tmp_path), "PORT": str(free_port()), **upstream}


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.terminate()
        process.wait(patient(20))


def honcho(environ: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "honcho", "start", "web"], cwd=ROOT, env=environ, stdout=output, stderr=output
        )


def test_the_procfile_serves_others_with_a_seeded_login(
    environ: dict[str, str], tmp_path: Path, sim: SimulatorClient, processes: list[subprocess.Popen[bytes]]
) -> None:
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address but the loopback one")
    environ |= {"PROXY_API_KEY": KEY, "CODEX_TOKENS_JSON": json.dumps(sim.login())}
    log = tmp_path / "honcho.log"
    processes.append(honcho(environ, log))
    url = f"http://{address}:{environ['PORT']}"
    wait_until(lambda: alive(url) or processes[0].poll() is not None, "an answer")
    assert processes[0].poll() is None, log.read_text()
    smoke(url)
    assert (tmp_path / ".codexproxy/data/tokens.json").stat().st_mode & 0o777 == 0o600
    assert KEY not in log.read_text()


def test_without_a_key_it_does_not_start_and_says_why(
    environ: dict[str, str], tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    log = tmp_path / "honcho.log"
    process = honcho(environ, log)
    processes.append(process)
    assert process.wait(patient(30)) != 0
    assert "PROXY_API_KEY" in log.read_text()
    assert "Traceback" not in log.read_text()
