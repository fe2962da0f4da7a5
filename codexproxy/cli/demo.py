"""``codexproxy demo``: the whole line from client to upstream, without an account.

A simulator plays the upstream. The demo lives in a temporary folder and takes
nothing from the user's configuration: the environment of its processes is
made from the few names of `BASICS`.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click

from codexproxy.cli.support.command import LOOPBACK, free_port, is_taken
from codexproxy.cli.support.local_server import LocalServer, ServerRefused
from codexproxy.cli.support.subprocesses import Children, ended_by_signals
from codexproxy.data_dir import DataDir
from codexproxy.login.tokens.file_store import FileTokenStore
from codexproxy.login.tokens.tokens import Tokens
from codexproxy.settings import parsing
from codexproxy.simulator.client import SimulatorClient

START_SECONDS = 30.0
ANSWER_SECONDS = 60.0

# Slow enough to see the words arrive.
PACE_MILLISECONDS = "30"

FALLBACK_MODEL = "gpt-5.2-codex"
QUESTION = "Say hello to somebody who tries codexproxy for the first time."

_CURL_MISSING = "curl is not installed; the demo streams its answer with it."


class StepFailed(Exception):
    """A step of the demo did not work; the message says which and why."""


@dataclass(slots=True)
class Stage:
    """Where the demo plays.

    Attributes:
        folder: Holds everything the demo writes.
        port: Where the service listens.
        environ: The whole environment of the demo's processes.
        children: The processes that run.
    """

    folder: Path
    port: int
    environ: Mapping[str, str]
    children: Children
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        """Where the service answers."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def service(self) -> subprocess.Popen[bytes]:
        """The service's process."""
        return self.running["service"]

    def start(self, name: str, *arguments: str, **environ: str) -> None:
        """Starts a module of this installation as a process called ``name``."""
        self.running[name] = self.children.start(
            [sys.executable, "-m", *arguments],
            environ={**self.environ, **environ},
            folder=self.folder,
            output=self._log(name),
        )

    def wait_for(self, name: str, ready: Callable[[], bool]) -> None:
        """Waits until a process is ready.

        Raises:
            StepFailed: It ended, or it took too long.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.running[name].poll() is not None:
                raise StepFailed(f"the {name} ended while it started.\n{self.tail(name)}")
            if ready():
                return
            time.sleep(0.05)
        raise StepFailed(f"the {name} did not start within {START_SECONDS:.0f} s.\n{self.tail(name)}")

    def tail(self, name: str) -> str:
        """The last lines a process wrote."""
        return "\n".join(self.output(name).splitlines()[-20:])

    def output(self, name: str) -> str:
        """What a process has written so far."""
        return self._log(name).read_text(errors="replace")

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def smoke(stage: Stage) -> str:
    """Starts everything and streams one answer to the terminal.

    Returns:
        The model that answered.

    Raises:
        StepFailed: Something did not work.
    """
    click.echo("Starting a simulated upstream ...")
    upstream = start_simulator(stage)
    sign_in(stage, upstream)
    click.echo("Starting codexproxy ...")
    start_service(stage, upstream)
    model = first_model(stage)
    stream_an_answer(stage, model)
    return model


def start_simulator(stage: Stage) -> SimulatorClient:
    """Starts the simulator on a port of the system's choice."""
    stage.start("simulator", "codexproxy.simulator", "--host", LOOPBACK, "--pace-ms", PACE_MILLISECONDS)
    stage.wait_for("simulator", lambda: _listening(stage) is not None)
    return SimulatorClient(str(_listening(stage)))


def _listening(stage: Stage) -> str | None:
    """The address the simulator announces in its first line."""
    found = re.search(r"listening on (http://\S+)\n", stage.output("simulator"))
    return found[1] if found else None


def sign_in(stage: Stage, upstream: SimulatorClient) -> None:
    """Takes a login from the simulated issuer into the demo's own ``DATA_DIR``."""
    FileTokenStore(DataDir(_data_dir(stage)).profile().tokens).save(Tokens.from_json(upstream.login()))


def start_service(stage: Stage, upstream: SimulatorClient) -> None:
    """Starts the service in front of the simulator and waits until it is healthy."""
    config = stage.folder / "config.json"
    config.write_text("{}\n")
    stage.start(
        "service",
        "codexproxy",
        "serve",
        CONFIG_PATH=str(config),
        DATA_DIR=str(_data_dir(stage)),
        HOST=LOOPBACK,
        PORT=str(stage.port),
        CODEX_BACKEND_URL=upstream.backend_url,
        CODEX_AUTH_ISSUER=upstream.issuer_url,
        LOG_FORMAT="text",
    )
    server = LocalServer(stage.base_url)
    stage.wait_for("service", lambda: server.get_json("/health") is not None)


def _data_dir(stage: Stage) -> Path:
    return stage.folder / "data"


def first_model(stage: Stage) -> str:
    """The first model the service lists."""
    try:
        listed = (LocalServer(stage.base_url).get_json("/v1/models") or {}).get("data") or [{}]
    except ServerRefused as refusal:
        raise StepFailed(f"{refusal}\n{stage.tail('service')}") from refusal
    return str(listed[0].get("id") or FALLBACK_MODEL)


def stream_an_answer(stage: Stage, model: str) -> None:
    """Asks one question with curl and shows the stream as it comes.

    Raises:
        StepFailed: The stream did not end as it should.
    """
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": QUESTION}]})
    url = f"{stage.base_url}/v1/chat/completions"
    click.echo(f"\n$ curl -N {url} -H 'content-type: application/json' -d '{body}'\n")
    # -q: no ~/.curlrc; the environment holds no proxy either.
    argv = ["curl", "-qsSN", "--max-time", f"{ANSWER_SECONDS:.0f}", url, "-H", "content-type: application/json"]
    try:
        status, stream = _show([*argv, "-d", body], stage.environ)
    except FileNotFoundError as error:
        raise StepFailed(_CURL_MISSING) from error
    if status != 0 or b'"error"' in stream or not stream.rstrip().endswith(b"data: [DONE]"):
        raise StepFailed(f"the streamed answer was not complete (curl: {status}).\n{stage.tail('service')}")


def _show(argv: list[str], environ: Mapping[str, str]) -> tuple[int, bytes]:
    """Runs a program, copies its output to ours as it comes, and keeps it."""
    kept = bytearray()
    with subprocess.Popen(argv, env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        while piece := program.stdout.read1():  # type: ignore[attr-defined]
            kept += piece
            click.echo(piece, nl=False)
    return program.returncode, bytes(kept)


# What a program needs to run at all; everything else stays outside.
BASICS = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TMPDIR", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")

DEFAULT_PORT = 3000

_BUSY = """\
Port {port} is taken by another program, perhaps by a demo that still runs.
Stop it, or choose another port: PORT=3001 make demo"""

_READY = """
It works. Base URL: {base}/v1   (any key)

With curl:
  curl -N {base}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "Hello"}}]}}'

With the OpenAI SDK (pip install openai):
  from openai import OpenAI
  client = OpenAI(base_url="{base}/v1", api_key="any")
  print(client.responses.create(model="{model}", input="Hello").output_text)
"""


@click.command()
def demo() -> None:
    """Try it without an account: a simulated upstream, one streamed answer, then serve.

    PORT chooses the port (default 3000); DEMO_ONCE=1 stops after the answer.
    """
    port, once = _options(os.environ)
    if is_taken(port):
        click.echo(_BUSY.format(port=port), err=True)
        sys.exit(1)
    try:
        with ended_by_signals(), tempfile.TemporaryDirectory(prefix="codexproxy-demo-") as folder:
            _play(Path(folder), port, once)
    except StepFailed as failure:
        click.echo(f"The demo failed: {failure}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("\nThe demo has stopped and left nothing behind.")


def _options(environ: Mapping[str, str]) -> tuple[int, bool]:
    try:
        port = parsing.integer(0, 65535)(environ.get("PORT") or DEFAULT_PORT)
        once = parsing.flag(environ.get("DEMO_ONCE") or "0")
    except ValueError as error:
        raise click.UsageError(f"PORT or DEMO_ONCE: {error}") from error
    return port or free_port(), once


def _play(folder: Path, port: int, once: bool) -> None:
    environ = {name: os.environ[name] for name in BASICS if name in os.environ}
    with Children() as children:
        stage = Stage(folder, port, {**environ, "HOME": str(folder)}, children)
        model = smoke(stage)
        click.echo(_READY.format(base=stage.base_url, model=model))
        if once:
            return
        click.echo("Serving until you press Ctrl-C.")
        status = stage.service.wait()
        raise StepFailed(f"the server stopped unexpectedly (status {status}).\n{stage.tail('service')}")
