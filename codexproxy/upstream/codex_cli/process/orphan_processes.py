"""Processes of a run that outlived it: found by the mark in their environment.

A command may leave its process group and its parents behind; its environment
it keeps. Where there is no /proc, the process group is all we have.
"""

import os
import signal
from pathlib import Path

from codexproxy.upstream.codex_cli.process.environment import RUN

_PROC = Path("/proc")

# A process that forks as fast as it is found is stopped after a few rounds.
_ROUNDS = 20


def kill_leftovers(run: str) -> None:
    """Ends every process that carries this run's mark."""
    for _ in range(_ROUNDS):
        found = processes_of(run)
        for pid in found:
            _kill(pid)
        if not found:
            return


def processes_of(run: str, proc: Path = _PROC) -> list[int]:
    """Ids of the live processes of a run."""
    mark = f"{RUN}={run}".encode()
    return [int(entry.name) for entry in _entries(proc) if mark in _environment(entry)]


def _entries(proc: Path) -> list[Path]:
    try:
        return [entry for entry in proc.iterdir() if entry.name.isdigit()]
    except OSError:
        return []


def _environment(entry: Path) -> list[bytes]:
    try:
        return (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        # It has just ended, or belongs to somebody else.
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
