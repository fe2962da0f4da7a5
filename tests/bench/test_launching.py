"""Servers of others are started with the source's address in place of the upstream's, and nothing else changed."""

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.targets.peer import launched, redirected
from tests.patience import patient

PACKAGE = {
    "__init__.py": "",
    "addresses.py": "UPSTREAM = 'https://real.invalid'\nOTHER = 'stays'\n",
    "cli.py": (
        "import json, sys\n"
        "from fakepeer import addresses\n"
        "from fakepeer.addresses import UPSTREAM\n"
        "from fakelibrary import LIMITS\n"
        "def main():\n"
        "    print(json.dumps([UPSTREAM, addresses.UPSTREAM, addresses.OTHER, LIMITS.most, sys.argv[1:]]))\n"
    ),
}
LIBRARY = "class Limits:\n    def __init__(self):\n        self.most = 100\nLIMITS = Limits()\n"


@pytest.fixture
def fakepeer(tmp_path: Path) -> dict[str, str]:
    """An environment in which the package of a made-up server can be imported."""
    (tmp_path / "fakepeer").mkdir()
    for name, text in PACKAGE.items():
        (tmp_path / "fakepeer" / name).write_text(text)
    (tmp_path / "fakelibrary.py").write_text(LIBRARY)
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def started(environ: dict[str, str], command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=patient(60), check=False)


def test_a_constant_is_replaced_wherever_the_package_holds_it_and_arguments_are_passed_on(
    fakepeer: dict[str, str],
) -> None:
    here = "http://127.0.0.1:1"
    command = launched(sys.executable, "fakepeer.cli:main", {"UPSTREAM": here})
    told = started(fakepeer, [*command, "serve", "--port", "7"])
    assert json.loads(told.stdout) == [here, here, "stays", 100, ["serve", "--port", "7"]], told.stderr


def test_a_cap_of_a_library_can_be_lifted(fakepeer: dict[str, str]) -> None:
    command = launched(sys.executable, "fakepeer.cli:main", {}, {"fakelibrary:LIMITS": {"most": None}})
    told = started(fakepeer, command)
    assert json.loads(told.stdout)[3] is None, told.stderr


def test_a_server_without_the_constant_does_not_start_towards_its_own_upstream(fakepeer: dict[str, str]) -> None:
    told = started(fakepeer, launched(sys.executable, "fakepeer.cli:main", {"RENAMED": "x"}))
    assert told.returncode != 0
    assert "fakepeer has no RENAMED" in told.stderr
    assert told.stdout == ""


def test_modules_of_the_targets_do_not_stand_in_front_of_the_packages_they_start() -> None:
    told = started(dict(os.environ), launched(sys.executable, "codex_proapi:main", {}))
    assert "No module named 'codex_proapi'" in told.stderr


class Asked(http.server.BaseHTTPRequestHandler):
    """Answers with the path it was asked for."""

    def do_POST(self) -> None:
        """Reads the body, and says what it got."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = f"{self.path} {body.decode()} {self.headers.get('X-Kept')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def asked() -> Iterator[int]:
    """The port of a server that tells what it was asked."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Asked) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


NODE = """
const options = {method: "POST", body: "hello", headers: {"x-kept": "yes"}};
const told = [];
for (const target of [
  "https://chatgpt.com/backend-api/codex/responses?a=1",
  new URL("https://auth.openai.com/oauth/token"),
  `http://127.0.0.1:${process.env.OTHER}/itself`,
]) told.push(await (await fetch(target, options)).text());
const request = new Request("https://elsewhere.example/x", {method: "POST", headers: options.headers});
told.push(await (await fetch(request)).text());
const {createServer} = await import("node:net");
const server = createServer().listen(0, "0.0.0.0", () => {
  told.push(server.address().address);
  server.close();
  console.log(JSON.stringify(told));
});
"""


def test_what_node_asks_of_other_machines_goes_to_the_source_and_it_listens_on_loopback_only(
    asked: int, tmp_path: Path
) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    script = tmp_path / "script.mjs"
    script.write_text(NODE)
    environ = {"PATH": os.environ["PATH"], "OTHER": str(asked), **redirected(asked)}
    told = started(environ, [node, str(script)])
    assert json.loads(told.stdout) == [
        "/backend-api/codex/responses?a=1 hello yes",
        "/oauth/token hello yes",
        "/itself hello yes",
        "/x  yes",
        "127.0.0.1",
    ], told.stderr
