"""The simulator as a child process, for tests, the demo and benchmarks. Standard library only."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

LISTENING = "simulator listening on "
START_SECONDS = 30.0
STOP_SECONDS = 5.0


CHECKOUT = Path(__file__).resolve().parents[2]


class SimulatorFailed(RuntimeError):
    """The simulator's process did not come up."""


class SimulatorProcess:
    """Runs the simulator in a process of its own, which never outlives this one.

    Args:
        host: Address to listen on.
        port: Port; 0 lets the system choose.
        pace_ms: Pause between the deltas of unscripted answers.
        tls: Files of a certificate and its key, to serve https.
        python: Interpreter to run.

    Raises:
        SimulatorFailed: It did not start.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        pace_ms: float = 0,
        tls: tuple[str, str] | None = None,
        python: str = sys.executable,
    ) -> None:
        command = [python, "-m", "codexproxy.simulator", "--with-parent", f"--host={host}", f"--port={port}"]
        command += [f"--pace-ms={pace_ms:g}"]
        if tls:
            command += [f"--tls-cert={tls[0]}", f"--tls-key={tls[1]}"]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment()
        )
        self.base_url = self._wait_until_listening()

    def _wait_until_listening(self) -> str:
        assert self._child.stdout is not None
        watchdog = threading.Timer(START_SECONDS, self._child.kill)
        watchdog.start()
        line = self._child.stdout.readline()
        watchdog.cancel()
        if not line.startswith(LISTENING):
            self.close()
            raise SimulatorFailed(f"the simulator did not start; it said {line!r}")
        return line.removeprefix(LISTENING).strip()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    def close(self) -> None:
        """Stops the child; harmless when called twice."""
        if self._child.stdin is not None:
            self._child.stdin.close()
        try:
            self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()

    def __enter__(self) -> "SimulatorProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _environment() -> dict[str, str]:
    # The child finds this very package also when it is not installed and the working folder is another.
    paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
