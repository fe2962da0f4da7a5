"""A server under measurement: how it is started, where it answers, what it costs."""

import base64
import http.client
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import process

START_SECONDS = 120.0
# What a rested server does first, late as its timers are, is not measured.
SETTLE_SECONDS = 0.3
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
# What the source itself answers on.
UPSTREAM = "/backend-api/codex/responses"


class NotStarted(RuntimeError):
    """A server did not come up; the message says what it said."""


@dataclass(slots=True)
class Server:
    """One server, not started yet.

    Attributes:
        name: What it is called in the results.
        port: Where it answers.
        paths: Api (``chat``, ``responses``) -> path.
        command: What starts it; empty for one that runs already, or needs no process.
        environ: Its environment.
        folder: Its own folder, where its output goes.
        health: What it answers 200 to once it is up; None when a connection is proof enough.
        pid: Its process, once started, or of one that runs already.
        guest: Whether it is a peer that somebody installed: it rests between its turns, streams once where
            others stream several times, and is left out if it does not start.
        furnish: What is done once it is up, before it is used.
    """

    name: str
    port: int
    paths: Mapping[str, str]
    command: Sequence[str] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()
    health: str | None = None
    pid: int | None = None
    guest: bool = False
    furnish: Callable[[], None] | None = None
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Starts it; returns the seconds until its first healthy answer.

        Raises:
            NotStarted: It ended, or did not answer in time.
        """
        if not self.command:
            return 0.0
        began = time.monotonic()
        self._process = process.start(self.command, self.environ, self.folder)
        self.pid = self._process.pid
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() - began > START_SECONDS:
                raise self._not_started()
            time.sleep(0.005)
        seconds = time.monotonic() - began
        if self.furnish is not None:
            try:
                self.furnish()
            except OSError as problem:
                raise self._not_started() from problem
        return seconds

    def _not_started(self) -> NotStarted:
        self.stop()
        output = (self.folder / "output").read_text(errors="replace")
        return NotStarted(f"{self.name} did not start:\n{output[-2000:]}")

    @contextmanager
    def awake(self) -> Iterator[None]:
        """While this lasts the server runs; outside, a guest is off the processor and disturbs nobody."""
        if not self.guest or self.pid is None:
            yield
            return
        process.resume(self.pid)
        time.sleep(SETTLE_SECONDS)
        try:
            yield
        finally:
            process.pause(self.pid)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        try:
            connection.connect()
            if self.health is None:
                return True
            connection.request("GET", self.health)
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """Ends it; harmless when it does not run."""
        if self._process is not None:
            process.stop(self._process)
            self._process = self.pid = None


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def token(lifetime: float = 10 * 24 * 3600) -> str:
    """An access token as the issuer makes them, signed by nobody; the source takes any."""
    now = int(time.time())
    claims = {
        "iat": now,
        "exp": now + int(lifetime),
        "https://api.openai.com/auth": {"chatgpt_account_id": "acc-bench", "chatgpt_plan_type": "plus"},
    }
    parts = [{"alg": "none", "typ": "JWT"}, claims, {}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
