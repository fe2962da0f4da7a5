"""The demo works from nothing, takes nothing from the user, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.patience import patient

ROOT = Path(__file__).resolve().parent.parent


class Demo:
    """A demo that runs, in a home folder and temporary folder of its own."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.log = folder / "demo.log"
        basics = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.temporary),
            "PORT": "0",
        }
        with self.log.open("wb") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "codexproxy", "demo"],
                env={**basics, **environ},
                cwd=folder,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + patient(60)
        while not condition():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)

    def descendants(self) -> set[int]:
        """Every process that came from the demo and still runs."""
        found: set[int] = set()
        waiting = [self.process.pid]
        while waiting:
            children = Path(f"/proc/{waiting[0]}/task/{waiting.pop(0)}/children")
            young = {int(pid) for pid in children.read_text().split()} if children.exists() else set()
            found |= young
            waiting += young
        return found

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def start_demo(**environ: str) -> Demo:
        started.append(Demo(tmp_path, **environ))
        return started[-1]

    yield start_demo
    for demo in started:
        demo.stop()


def test_one_answer_is_streamed_and_the_users_own_configuration_stays_outside(
    start: Callable[..., Demo], tmp_path: Path
) -> None:
    (tmp_path / ".codexproxy").mkdir()
    (tmp_path / ".codexproxy" / "config.json").write_text("this is not JSON")
    (tmp_path / ".env").write_text("PROXY_API_KEY=from-dotenv\n")
    (tmp_path / ".curlrc").write_text("proxy = http://127.0.0.1:1\n")
    demo = start(
        DEMO_ONCE="1",
        PROXY_API_KEY="from-environment",
        CODEX_BACKEND_URL="http://127.0.0.1:1",
        DATA_DIR="/proc/nowhere",
        http_proxy="http://127.0.0.1:1",
        GUNICORN_CMD_ARGS="--bind 127.0.0.1:1",
        LOG_LEVEL="nonsense",
    )
    assert demo.process.wait(patient(60)) == 0, demo.output
    assert demo.output.count("data: {") > 3
    assert "data: [DONE]" in demo.output
    assert "Base URL: http://127.0.0.1:" in demo.output
    assert 'OpenAI(base_url="http://127.0.0.1:' in demo.output
    assert list(demo.temporary.iterdir()) == []
    assert sorted(path.name for path in (tmp_path / ".codexproxy").iterdir()) == ["config.json"]


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)],
    ids=["Ctrl-C", "SIGTERM", "SIGHUP", "SIGKILL"],
)
def test_whatever_ends_the_demo_no_process_stays(start: Callable[..., Demo], number: int, status: int) -> None:
    demo = start()
    demo.wait_until(lambda: "Serving until" in demo.output)
    processes = demo.descendants()
    assert len(processes) >= 3
    demo.process.send_signal(number)
    assert demo.process.wait(patient(30)) == status, demo.output
    deadline = time.monotonic() + patient(30)
    while any(map(alive, processes)):
        assert time.monotonic() < deadline, [pid for pid in processes if alive(pid)]
        time.sleep(0.02)
    if number != signal.SIGKILL:
        assert list(demo.temporary.iterdir()) == []


def test_a_signal_while_it_starts_leaves_nothing_either(start: Callable[..., Demo]) -> None:
    demo = start()
    demo.wait_until(lambda: bool(demo.descendants()))
    processes = demo.descendants()
    demo.process.terminate()
    assert demo.process.wait(patient(30)) == 143, demo.output
    assert not any(map(alive, processes))
    assert list(demo.temporary.iterdir()) == []


def test_a_busy_port_is_told_kindly(start: Callable[..., Demo]) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        demo = start(PORT=str(port))
        assert demo.process.wait(patient(30)) == 1
    assert f"Port {port} is taken" in demo.output
    assert "Traceback" not in demo.output


@pytest.mark.parametrize("environ", [{"PORT": "many"}, {"DEMO_ONCE": "perhaps"}])
def test_wrong_options_are_wrong_usage(start: Callable[..., Demo], environ: dict[str, str]) -> None:
    demo = start(**environ)
    assert demo.process.wait(patient(30)) == 2
    assert "Traceback" not in demo.output
    assert "must be" in demo.output


def test_without_curl_the_demo_fails_with_a_reason(start: Callable[..., Demo], tmp_path: Path) -> None:
    nothing = tmp_path / "bin"
    nothing.mkdir()
    demo = start(PATH=str(nothing), DEMO_ONCE="1")
    assert demo.process.wait(patient(60)) == 1, demo.output
    assert "curl is not installed" in demo.output
