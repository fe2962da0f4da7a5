"""A child process that says anything, at any length, or nothing, and how it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from codexproxy.errors import UpstreamFailed
from codexproxy.upstream.codex_cli.process.process import CliProcess
from codexproxy.upstream.codex_cli.process.run_folder import PREFIX, RUN, RunFolder, processes_of, remove_tree, sweep
from tests.contracts.backend_stages import eventually
from tests.patience import patient

Start = Callable[..., CliProcess]


@pytest.fixture
def start(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Start]:
    """Starts a shell script as if it were the CLI."""
    run = f"test-{os.getpid()}-{id(request)}"
    started: list[CliProcess] = []

    def begin(script: str, *argv: str) -> CliProcess:
        environment = {"PATH": os.environ["PATH"], RUN: run}
        command = list(argv) or ["sh", "-c", script]
        started.append(CliProcess(command, cwd=tmp_path, environment=environment, run=run))
        return started[-1]

    yield begin
    for process in started:
        process.end(0.2)
    assert processes_of(run) == []


def said(process: CliProcess, seconds: float = 10) -> list[bytes]:
    """All lines until the end."""
    lines: list[bytes] = []
    until = time.monotonic() + patient(seconds)
    while (more := process.read(0.5)) is not None:
        lines += more
        assert time.monotonic() < until
    return lines


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_lines_arrive_as_they_are_written(start: Start) -> None:
    process = start("echo one; read x; echo $x; printf last")
    assert process.read(5) == [b"one"]
    assert process.read(0.05) == []
    process.send(b"two\n")
    assert process.read(5) == [b"two"]
    assert said(process) == [b"last"]
    assert process.read(1) is None
    assert process.wait(patient(5)) == 0


def test_a_last_line_without_an_end_is_a_line(start: Start) -> None:
    assert said(start("printf 'a\\nb'")) == [b"a", b"b"]
    assert said(start("printf ''")) == []


def test_lines_of_ten_megabytes_pass_whole(start: Start) -> None:
    size = 10 * 1024 * 1024
    lines = said(start(f"head -c {size} /dev/zero | tr '\\0' x; echo; echo end"))
    assert [len(line) for line in lines] == [size, 3]


def test_a_prompt_of_seventy_megabytes_is_read_to_its_end(start: Start) -> None:
    size = 70 * 1024 * 1024
    process = start("wc -c")
    process.send(b"x" * size)
    process.end_input()
    assert int(said(process, 30)[0]) == size


def test_a_child_that_reads_nothing_still_speaks(start: Start) -> None:
    process = start("exec <&-; echo no; sleep 0.2; echo more")
    process.send(b"x" * 10_000_000)
    process.end_input()
    assert said(process) == [b"no", b"more"]


def test_a_child_that_fills_standard_error_does_not_stop(start: Start) -> None:
    process = start("head -c 3000000 /dev/zero | tr '\\0' e >&2; echo done; echo the end >&2")
    assert said(process) == [b"done"]
    process.read(0)
    assert process.stderr().endswith("e" * 100 + "the end\n")
    assert len(process.stderr()) <= 8192


def test_an_end_is_noticed_although_a_grandchild_keeps_the_output_open(start: Start) -> None:
    process = start("echo before; sleep 60 & exit 3")
    began = time.monotonic()
    assert said(process) == [b"before"]
    assert time.monotonic() - began < patient(5)
    assert process.wait(patient(1)) == 3


def test_a_child_that_ignores_sigterm_is_killed(start: Start) -> None:
    process = start("trap '' TERM; echo ready; while :; do sleep 0.1; done")
    assert process.read(5) == [b"ready"]
    began = time.monotonic()
    process.end(0.2)
    assert 0.2 <= time.monotonic() - began < patient(3)
    assert process.wait(0) == -signal.SIGKILL


def test_the_whole_group_ends_and_what_left_the_group_too(start: Start) -> None:
    process = start("sleep 61 & setsid sleep 62 & (setsid sh -c 'sleep 63 & wait' &) ; echo ready; wait")
    assert process.read(5) == [b"ready"]
    run = f"{RUN}=".encode()
    [mark] = [pair for pair in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0") if pair.startswith(run)]
    name = mark.removeprefix(run).decode()
    eventually(lambda: len(processes_of(name)) >= 5)
    process.end(0.2)
    assert processes_of(name) == []


def test_ending_twice_and_reading_after_the_end_harm_nothing(start: Start) -> None:
    before = descriptors()
    process = start("sleep 60")
    process.end(0.2)
    process.end(0.2)
    assert process.read(0.1) is None
    process.send(b"late")
    assert descriptors() == before


def test_a_child_that_cannot_be_started_is_told_with_the_way_out(tmp_path: Path) -> None:
    before = descriptors()
    (tmp_path / "not-executable").write_text("x")
    for argv, told in ((["no-such-codex"], "was not found"), ([str(tmp_path / "not-executable")], "cannot be started")):
        with pytest.raises(UpstreamFailed, match="npm install -g @openai/codex") as failure:
            CliProcess(argv, cwd=tmp_path, environment={"PATH": "/bin"}, run="x")
        assert failure.value.code == "codex_cli_failed" and told in failure.value.message
    assert descriptors() == before


def test_a_folder_of_a_run_is_private_and_leaves_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    file = folder.write("x.png", b"data")
    assert file.read_bytes() == b"data"
    (folder.work / "deep" / "er").mkdir(parents=True)
    (folder.work / "deep" / "er" / "file").touch()
    folder.remove()
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_resists_is_removed_and_links_are_not_followed(tmp_path: Path) -> None:
    kept, doomed = tmp_path / "kept", tmp_path / "doomed"
    (doomed / "locked" / "inner").mkdir(parents=True)
    kept.mkdir()
    (kept / "file").touch()
    (doomed / "link").symlink_to(kept)
    (doomed / "locked").chmod(0)
    remove_tree(doomed)
    assert not doomed.exists()
    assert (kept / "file").exists()


ABANDON = """
import os, subprocess, sys
from pathlib import Path
from codexproxy.upstream.codex_cli.process.run_folder import RunFolder
folder = RunFolder(Path(sys.argv[1]))
child = subprocess.Popen(
    ["sleep", "60"],
    env={**os.environ, "CODEXPROXY_RUN": folder.run},
    start_new_session=True,
    stdin=subprocess.DEVNULL,
    stdout=subprocess.DEVNULL,
)
print(folder.run, flush=True)
sys.stdin.read()
"""


def test_what_a_killed_worker_left_is_swept_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    mine = RunFolder(tmp_path)
    (tmp_path / "unrelated").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "unrelated")
    worker = subprocess.Popen(
        [sys.executable, "-c", ABANDON, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    run = worker.stdout.readline().strip()
    sweep(tmp_path)
    assert (tmp_path / f"{PREFIX}{run}").exists() and len(processes_of(run)) == 1
    worker.kill()
    worker.communicate()
    sweep(tmp_path)
    assert not (tmp_path / f"{PREFIX}{run}").exists()
    eventually(lambda: processes_of(run) == [])
    assert mine.path.exists() and (tmp_path / "unrelated").exists()
    mine.remove()
