"""The real service under the real gunicorn, as a process of its own."""

import copy
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from codexproxy.simulator.client import SimulatorClient
from tests.patience import PATIENCE, patient

ROOT = Path(__file__).resolve().parents[1]


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Waits for a condition and returns its value; fails by name when it takes longer than an idle machine may need."""
    began = time.monotonic()
    while time.monotonic() - began < patient(seconds):
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {time.monotonic() - began:.1f} s")


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Answer:
    """A whole HTTP answer."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The error's code."""
        return str(self.json["error"]["code"])

    @property
    def long_wait(self) -> float:
        """The seconds of the wait it tells; fails unless that is a long one, told as it has to be."""
        return told_wait(self.status, self.headers, self.json["error"])


def told_wait(status: int, headers: Mapping[str, str], error: Mapping[str, Any]) -> float:
    """The seconds of a long wait, which is told as a moment only: no ``Retry-After``, for which agents would sleep."""
    assert (status, headers.get("x-should-retry"), headers.get("retry-after")) == (429, "false", None)
    moment = error["resets_at"]
    assert time.strftime("%a %d %b, %H:%M", time.localtime(moment)) in error["message"]
    return float(moment - time.time())


class Service:
    """One gunicorn with our configuration file; as a context, logged in and running.

    Args:
        folder: Holds its data folder and its log.
        sim: The upstream and the issuer.
        environ: Further settings.
    """

    def __init__(self, folder: Path, sim: SimulatorClient, **environ: str) -> None:
        self.data_dir = folder / "data"
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log_path = folder / "service.log"
        self.port = free_port()
        self.sim = sim
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PORT": str(self.port),
            "DATA_DIR": str(self.data_dir),
            "CODEX_BACKEND_URL": sim.backend_url,
            "CODEX_AUTH_ISSUER": sim.issuer_url,
            "LOG_FORMAT": "text",
            **environ,
        }
        self.process: subprocess.Popen[bytes] | None = None
        # What starts Python, for tests that take something away from the process first.
        self.launcher: Sequence[str] = (sys.executable,)
        self.application = "wsgi:app"

    @property
    def base_url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it logged so far."""
        return self.log_path.read_text(errors="replace")

    def behind(self, port: int) -> "Service":
        """The same service, reached through another port, for one test's requests."""
        other = copy.copy(self)
        other.port = port
        return other

    def worker(self) -> int:
        """The process id of its one worker."""
        (worker,) = self.workers()
        return worker

    def workers(self) -> list[int]:
        """The process ids of its workers, those that have ended and were not noticed yet included."""
        assert self.process is not None
        return [
            int(id) for id in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def login(self, **fields: Any) -> dict[str, Any]:
        """Gives it a fresh login of the simulator's issuer."""
        tokens = self.sim.login(**fields)
        path = self.data_dir / "tokens.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(tokens))
        fresh.chmod(0o600)
        fresh.rename(path)
        return tokens

    def open_log(self) -> IO[bytes]:
        """Where its output goes."""
        return self.log_path.open("ab")

    def start(self, *arguments: str) -> "Service":
        """Starts it and waits until it answers."""
        command = [*self.launcher, "-m", "gunicorn", "-c", "gunicorn.conf.py", *arguments, self.application]
        with self.open_log() as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.environ, stdout=log, stderr=log)
        wait_until(self._answers, "an answer from /health")
        return self

    def __enter__(self) -> "Service":
        self.login()
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the service ended at its start:\n{self.log}")
        try:
            return self.get("/health").status == 200
        except OSError:
            return False

    def stop(self) -> None:
        """Ends it; harmless when it has ended."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(patient())
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def connect(self, timeout: float | None = None) -> http.client.HTTPConnection:
        """A connection to it."""
        return http.client.HTTPConnection("127.0.0.1", urlsplit(self.base_url).port, timeout=timeout or patient())

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """Sends a request and reads the whole answer; a dict travels as JSON."""
        data = json.dumps(body).encode() if isinstance(body, dict | list) else body
        connection = self.connect()
        try:
            connection.request(method, path, data, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        """GETs a path."""
        return self.request("GET", path, None, headers)

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
        """POSTs a body."""
        return self.request("POST", path, body, headers)

    def send(self, path: str, body: dict[str, Any]) -> socket.socket:
        """Sends a request and returns the socket without reading from it."""
        data = json.dumps(body).encode()
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=patient())
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n\r\n"
        sock.sendall(head.encode() + data)
        return sock
