"""A server as a tree of processes: its CPU time, its memory, its beginning and its end. Linux only."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_CPUCLOCK_SCHED = 2
STOP_SECONDS = 10.0


def tree(pid: int) -> Iterator[int]:
    """The process and all its living descendants."""
    yield pid
    for task in _tasks(pid):
        with suppress(OSError):  # it may have ended meanwhile
            for child in (task / "children").read_text().split():
                yield from tree(int(child))


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def cpu_seconds(pid: int) -> float:
    """CPU time of the tree: to the nanosecond for what lives, to the tick for children that ended."""
    return sum(_own_seconds(member) + _reaped_seconds(member) for member in tree(pid))


def _own_seconds(pid: int) -> float:
    # The CPU clock of another process (clock_getcpuclockid(3)); threads that ended are in it.
    try:
        return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
    except OSError:
        return 0.0


def _reaped_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[13]) + int(fields[14])) / _TICKS


def memory_mb(pid: int) -> float:
    """Memory of the tree in MB (10^6 bytes); pages that several processes share are counted once (PSS)."""
    return sum(map(_pss, tree(pid))) * 1024 / 1e6


def _pss(pid: int) -> int:
    try:
        found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def start(command: Sequence[str], environ: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """Starts a server in a session of its own; what it says goes to ``output`` in the folder."""
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(
            command, env=dict(environ), cwd=folder, stdout=output, stderr=output, start_new_session=True
        )


def pause(pid: int) -> None:
    """Takes the tree off the processor, parents first."""
    _signal(tree(pid), signal.SIGSTOP)


def resume(pid: int) -> None:
    """Lets a tree run that was paused; harmless when it runs."""
    _signal(reversed(list(tree(pid))), signal.SIGCONT)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # it may have ended meanwhile
            os.kill(pid, number)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the whole tree, also a paused one; harmless when it has ended."""
    if process.poll() is None:
        resume(process.pid)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
