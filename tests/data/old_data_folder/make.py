"""Makes a data folder with an earlier version: ``python make.py NAME``, run in a checkout of that version.

The version's own service runs in front of its own simulator, so that nothing in the folder is anybody's.
Writes ``NAME.tar.gz`` (the folder) and ``NAME.json`` (what a test must find in it).
"""

import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, os.getcwd())

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from tests.service import Service, wait_until

MODEL = "gpt-5.5"
FIRST = "Remember 41."


def main(name: str) -> None:
    with tempfile.TemporaryDirectory() as temporary, SimulatorProcess() as process:
        sim = SimulatorClient(process.base_url)
        service = Service(Path(temporary), sim, WEB_CONCURRENCY="2")
        found = fill(service, Path(temporary))
        Path(f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
        with tarfile.open(f"{name}.tar.gz", "w:gz") as archive:
            archive.add(service.data_dir, "data", filter=anonymous)


def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def fill(service: Service, folder: Path) -> dict[str, Any]:
    """Uses a service as a person would; returns what it keeps."""
    environ = {**os.environ, "DATA_DIR": str(service.data_dir), "CONFIG_PATH": str(folder / "config.json")}
    environ["CODEX_BACKEND_URL"], environ["CODEX_AUTH_ISSUER"] = service.sim.backend_url, service.sim.issuer_url
    (folder / "config.json").write_text("{}\n")

    def command(*words: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "codexproxy", *words, "--json"], env=environ, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    tokens = service.login()
    keys = {
        "alice": command("keys", "add", "alice", "--rate", "100", "--tokens", "1000000", "--parallel", "3"),
        "bob": command("keys", "add", "bob", "--client", "codex-cli"),
    }
    command("prompts", "sync")
    headers = {"Authorization": f"Bearer {keys['alice']['key']}"}
    with service:
        first = post(service, "/v1/responses", {"input": FIRST}, headers)
        conversation = service.sim.last_turn()["json"]["prompt_cache_key"]
        second = post(service, "/v1/responses", {"input": "And 42.", "previous_response_id": first["id"]}, headers)
        post(service, "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}]}, headers)
        refused = {"model": "no-such-model", "messages": [{"role": "user", "content": "Hello"}]}
        service.request("POST", "/v1/chat/completions", refused, headers)
        background = in_background(service, headers)
        leave_running(service, headers)
        tokens = json.loads((service.data_dir / "tokens.json").read_text())
    return {
        "made_at": time.time(),
        "model": MODEL,
        "first": FIRST,
        "conversation": conversation,
        "tokens": tokens,
        "keys": {name: row["key"] for name, row in keys.items()},
        "responses": [first, second, background],
    }


def post(service: Service, path: str, body: dict[str, Any], headers: dict[str, str]) -> Any:
    answer = service.request("POST", path, {"model": MODEL, **body}, headers)
    assert answer.status == 200, answer.body
    return answer.json


def in_background(service: Service, headers: dict[str, str]) -> Any:
    id = post(service, "/v1/responses", {"input": "Later.", "background": True}, headers)["id"]

    def ended() -> Any:
        response = service.get(f"/v1/responses/{id}", headers).json
        return response if response["status"] == "completed" else None

    return wait_until(ended, "the end of the background response")


def leave_running(service: Service, headers: dict[str, str]) -> None:
    """Kills the whole service while it runs one turn, after its rows were written."""
    ledger = service.data_dir / "ledger.sqlite3"
    wait_until(lambda: ledger.exists(), "the ledger")
    time.sleep(3)
    service.sim.script({"text": "word " * 30, "stalls": [{"gate": "never", "event": 20}]})
    connection = service.connect()
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Unfinished"}]}
    connection.request(
        "POST", "/v1/chat/completions", json.dumps(body), {**headers, "Content-Type": "application/json"}
    )
    connection.getresponse().read(100)
    time.sleep(3)
    assert service.process is not None
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    service.process.kill()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    service.process.wait()
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1])
