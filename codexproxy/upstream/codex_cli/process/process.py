"""The CLI as a child process: a process group, three pipes, one loop that serves them all.

One reader writes what is still to be sent, keeps the tail of standard error and
cuts standard output into lines, so that no pipe ever fills up while another is
waited for. Waiting goes through ``select.poll`` and ``subprocess``, which are
cooperative once gevent has patched them and work without it.
"""

import os
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from codexproxy.errors import UpstreamFailed
from codexproxy.upstream.codex_cli.decode.exec_events import Lines
from codexproxy.upstream.codex_cli.process.run_folder import kill_leftovers

READ_SIZE = 262144
WRITE_SIZE = 65536
STDERR_KEPT = 8192

# How often, in seconds, a silent process is looked after: it may have ended
# while a child of it keeps its output open.
GLANCE = 0.25

# A killed process is gone at once, but for one that hangs in the kernel.
REAP_SECONDS = 5.0


class CliProcess:
    """A running CLI.

    Whoever made it must ``end`` it.

    Args:
        argv: The command.
        cwd: Where it runs.
        environment: All that it sees of an environment.
        run: Identity of the run, as in its environment.
        clock: Monotonic seconds.

    Raises:
        UpstreamFailed: It cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        run: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._run = run
        self._lines = Lines()
        self._stderr: deque[bytes] = deque()
        self._outgoing: deque[memoryview] = deque()
        self._input_ends = False
        self._reading = False
        self._ended = False
        self._in, self._out, self._err, self._popen = _spawn(argv, cwd, environment)

    @property
    def pid(self) -> int:
        """Its process id, which is its process group too."""
        return self._popen.pid

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._popen.poll() is None

    def send(self, data: bytes) -> None:
        """Sends this to its standard input: what fits now, the rest while ``read`` waits."""
        if self._in >= 0 and data:
            self._outgoing.append(memoryview(data))
            self._write()

    def end_input(self) -> None:
        """Closes its standard input once everything is sent."""
        self._input_ends = True
        self._close_input()

    def read(self, timeout: float) -> list[bytes] | None:
        """Lines of its standard output.

        Returns:
            Complete lines; ``[]`` after ``timeout`` silent seconds; None at the end.

        Raises:
            UpstreamFailed: A line is longer than anything sensible.
        """
        self._reading = True
        try:
            return self._read(self._clock() + timeout)
        finally:
            self._reading = False
            if self._ended:
                self._close()

    def _read(self, until: float) -> list[bytes] | None:
        while self._out >= 0:
            left = max(0.0, until - self._clock())
            lines = self._serve(min(left, GLANCE))
            if not lines and self._popen.poll() is not None and self._is_silent():
                self._out = _closed(self._out)
            if lines or self._clock() >= until:
                return lines
        return self._lines.end() or None

    def _serve(self, seconds: float) -> list[bytes]:
        """Serves the pipes that are ready within so many seconds."""
        lines: list[bytes] = []
        for descriptor in self._ready(seconds):
            if descriptor == self._in:
                self._write()
            elif descriptor == self._err:
                self._keep_stderr()
            else:
                lines += self._receive()
        return lines

    def _ready(self, seconds: float) -> list[int]:
        poll = select.poll()
        for descriptor in (self._out, self._err):
            if descriptor >= 0:
                poll.register(descriptor, select.POLLIN)
        if self._in >= 0 and self._outgoing:
            poll.register(self._in, select.POLLOUT)
        return [descriptor for descriptor, _ in poll.poll(seconds * 1000)]

    def _is_silent(self) -> bool:
        return self._out not in self._ready(0)

    def _receive(self) -> list[bytes]:
        data = _read_from(self._out)
        if data == b"":
            self._out = _closed(self._out)
        return self._lines.feed(data) if data else []

    def _keep_stderr(self) -> None:
        data = _read_from(self._err)
        if data == b"":
            self._err = _closed(self._err)
        elif data:
            self._stderr.append(data[-STDERR_KEPT:])
            while sum(map(len, self._stderr)) - len(self._stderr[0]) >= STDERR_KEPT:
                self._stderr.popleft()

    def _write(self) -> None:
        try:
            while self._outgoing:
                rest = self._outgoing[0][os.write(self._in, self._outgoing[0][:WRITE_SIZE]) :]
                if rest:
                    self._outgoing[0] = rest
                else:
                    self._outgoing.popleft()
        except BlockingIOError:
            return
        except OSError:
            # It reads no further; what it says about that is in its output.
            self._outgoing.clear()
            self._in = _closed(self._in)
        self._close_input()

    def _close_input(self) -> None:
        if self._input_ends and not self._outgoing:
            self._in = _closed(self._in)

    def stderr(self) -> str:
        """The end of what it wrote to standard error, not redacted yet."""
        text = b"".join(self._stderr)[-STDERR_KEPT:]
        return text.decode("utf-8", "replace")

    def wait(self, seconds: float) -> int | None:
        """Its exit status; None when it still runs after so many seconds."""
        try:
            return self._popen.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None

    def end(self, grace: float) -> None:
        """Ends it and everything it started; harmless when called twice.

        Args:
            grace: Seconds it gets to end by itself once it is asked to.
        """
        if self._ended:
            return
        self._ended = True
        try:
            if self._popen.poll() is None:
                self._signal(signal.SIGTERM)
                self.wait(grace)
        finally:
            # Also when we are stopped while waiting.
            self._signal(signal.SIGKILL)
            try:
                self.wait(REAP_SECONDS)
            finally:
                kill_leftovers(self._run)
                if not self._reading:
                    self._close()

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._popen.pid, number)
        except (ProcessLookupError, PermissionError):
            return

    def _close(self) -> None:
        self._in, self._out, self._err = _closed(self._in), _closed(self._out), _closed(self._err)


def _spawn(
    argv: Sequence[str], cwd: Path, environment: Mapping[str, str]
) -> tuple[int, int, int, "subprocess.Popen[bytes]"]:
    pipes = [os.pipe() for _ in range(3)]
    (in_read, in_write), (out_read, out_write), (err_read, err_write) = pipes
    ours, theirs = (in_write, out_read, err_read), (in_read, out_write, err_write)
    try:
        popen = subprocess.Popen(
            argv, stdin=in_read, stdout=out_write, stderr=err_write, cwd=cwd, env=environment, start_new_session=True
        )
    except BaseException as error:
        _close_all(ours)
        if isinstance(error, OSError):
            raise _unstarted(argv[0], error) from error
        raise
    finally:
        _close_all(theirs)
    for descriptor in ours:
        os.set_blocking(descriptor, False)
    return in_write, out_read, err_read, popen


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _unstarted(bin: str, error: OSError) -> UpstreamFailed:
    missing = isinstance(error, FileNotFoundError)
    what = "was not found" if missing else f"cannot be started ({error.strerror})"
    return UpstreamFailed(
        f"The Codex CLI `{bin}` {what}. Install it with `npm install -g @openai/codex`, or set CODEX_BIN to its path.",
        code="codex_cli_failed",
    )


def _closed(descriptor: int) -> int:
    if descriptor >= 0:
        os.close(descriptor)
    return -1


def _read_from(descriptor: int) -> bytes | None:
    try:
        return os.read(descriptor, READ_SIZE)
    except BlockingIOError:
        return None
    except OSError:
        return b""
