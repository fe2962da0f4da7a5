"""A command at a pseudo-terminal, and somebody who reads and types there."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

from tests.patience import patient

ROOT = Path(__file__).resolve().parent.parent

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """Runs ``codexproxy`` with a terminal of its own for input and output.

    Args:
        folder: Home and working folder.
        arguments: Of the command.
        environ: Its further environment.
    """

    def __init__(self, folder: Path, *arguments: str, **environ: str) -> None:
        self.shown = ""
        self._master, slave = pty.openpty()
        basics = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "TERM": "xterm"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "codexproxy", *arguments],
            env={**basics, **environ},
            cwd=folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def expect(self, pattern: str, seconds: float = 30.0) -> re.Match[str]:
        """Reads until the pattern was shown.

        Raises:
            AssertionError: It was not, within the time or before the command's end.
        """
        deadline = time.monotonic() + patient(seconds)
        while not (found := re.search(pattern, self.shown)):
            assert self._read(deadline - time.monotonic()), f"{pattern!r} was not shown:\n{self.shown}"
        return found

    def type(self, line: str) -> None:
        """Types a line and Enter."""
        os.write(self._master, line.encode() + b"\n")

    def press(self, key: bytes) -> None:
        """Presses one key, such as Ctrl-C."""
        os.write(self._master, key)

    def end(self, seconds: float = 30.0) -> int:
        """Reads to the command's end; its exit code."""
        deadline = time.monotonic() + patient(seconds)
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(max(deadline - time.monotonic(), 1))

    def close(self) -> None:
        """Ends the command if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _read(self, seconds: float) -> bool:
        if seconds <= 0 or not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            piece = os.read(self._master, 65536)
        except OSError:  # Linux says so when the other side has closed
            return False
        self.shown += _CONTROL.sub("", piece.decode("utf-8", "replace"))
        return bool(piece)
