"""Processes that a command starts and never leaves behind."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

# Seconds a child may take to end by itself before it is killed.
PATIENCE = 10.0

_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within it SIGTERM and SIGHUP end the program as an exception does, so that clean-ups run."""
    names = (signal.SIGTERM, signal.SIGHUP)
    before = {name: signal.signal(name, _leave) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


class Children:
    """Child processes, each with a session of its own, ended together in reverse order.

    Use it as a context manager.
    """

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def start(
        self, argv: Sequence[str], *, environ: Mapping[str, str], folder: Path, output: Path
    ) -> subprocess.Popen[bytes]:
        """Starts a process.

        Args:
            argv: The program and its arguments.
            environ: Its whole environment.
            folder: Its working directory.
            output: File that takes what it prints.
        """
        with output.open("wb") as sink, _signals_held_back():
            child = subprocess.Popen(
                argv,
                env=dict(environ),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=before_exec(os.getpid()),
            )
            self._running.append(child)
        return child

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *exception: object) -> None:
        # A second Ctrl-C must not cut the clean-up short.
        before = {name: signal.signal(name, signal.SIG_IGN) for name in _ENDING}
        try:
            for child in reversed(self._running):
                _end(child)
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """No signal may come between starting a process and knowing of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def before_exec(parent: int) -> Callable[[], None]:
    """What a child does first: take signals again, and end when its parent is killed."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it was killed before we asked to be told
                os._exit(1)

    return prepare


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    deadline = time.monotonic() + PATIENCE
    while not _has_ended(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    # Its number cannot belong to anybody else yet, since it has not been waited for.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    if child.returncode is not None:
        return True
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
