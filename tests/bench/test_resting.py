"""Guests rest between their turns, stream once, and may fail without ending the run."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import process
from bench.runner import ROOT, rounds, run, servers, source
from bench.scenarios import Scenario
from bench.targets.server import UPSTREAM, NotStarted, Server, free_port
from tests.service import wait_until

# A server with a child that ends with it.
SERVING = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
# The load source, ended with this process.
ANSWERING = """
import subprocess, sys
subprocess.Popen([sys.executable, "-m", "bench.source", sys.argv[1]], stdin=subprocess.PIPE).wait()
"""


def serving(folder: Path, guest: bool = True) -> Server:
    port = free_port()
    command = [sys.executable, "-c", SERVING, str(port)]
    return Server("serving", port, {}, command, {}, folder, "/", guest=guest)


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Server]:
    """A guest of two processes that runs."""
    server = serving(tmp_path)
    server.start()
    try:
        assert server.pid is not None
        pid = server.pid
        wait_until(lambda: len(list(process.tree(pid))) == 2, "the child of the server")
        yield server
    finally:
        server.stop()


def states(server: Server) -> set[str]:
    """What the processes of the server do, as /proc says it: ``T`` is stopped."""
    assert server.pid is not None
    return {Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in process.tree(server.pid)}


def test_a_guest_runs_in_its_turn_and_is_off_the_processor_behind_it(guest: Server) -> None:
    for _ in range(2):
        with guest.awake():
            wait_until(lambda: "T" not in states(guest), "the guest to wake")
        wait_until(lambda: states(guest) == {"T"}, "the guest to rest")


def test_a_guest_rests_also_after_a_turn_that_failed(guest: Server) -> None:
    with pytest.raises(ValueError, match="broken"), guest.awake():
        raise ValueError("broken")
    wait_until(lambda: states(guest) == {"T"}, "the guest to rest")


def test_a_guest_that_rests_can_be_ended(guest: Server) -> None:
    with guest.awake():
        pass
    assert guest.pid is not None
    members = list(process.tree(guest.pid))
    began = time.monotonic()
    guest.stop()
    assert time.monotonic() - began < process.STOP_SECONDS, "it was killed, not asked"
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in members), "all its processes to be gone")


def test_what_is_no_guest_is_never_stopped(tmp_path: Path) -> None:
    server = serving(tmp_path, guest=False)
    server.start()
    try:
        with server.awake():
            pass
        assert "T" not in states(server)
    finally:
        server.stop()


def broken(guest: bool) -> Server:
    return Server("broken", free_port(), {}, [sys.executable, "-c", "raise SystemExit('no')"], {}, guest=guest)


def test_a_guest_that_does_not_start_is_told_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    def make(_: int, folder: Path) -> Server:
        server = broken(guest=True)
        server.folder = folder
        return server

    with servers(["broken"], 1, {"broken": make}) as started:
        assert started == {}
    assert "broken did not start:\nno" in capsys.readouterr().err


def test_any_other_server_that_does_not_start_ends_the_run(tmp_path: Path) -> None:
    def make(_: int, folder: Path) -> Server:
        server = broken(guest=False)
        server.folder = folder
        return server

    with pytest.raises(NotStarted, match="no"), servers(["broken"], 1, {"broken": make}):
        pass


def test_a_server_that_cannot_be_furnished_has_not_started(tmp_path: Path) -> None:
    def refuse() -> None:
        raise OSError("it did not take its account")

    server = serving(tmp_path)
    server.furnish = refuse
    with pytest.raises(NotStarted, match="serving did not start"):
        server.start()
    assert server.pid is None


def test_a_guest_streams_once_where_others_stream_several_times() -> None:
    scenario = Scenario("x", "", 1, 5, 0, per_place=3)
    with source() as port:
        paths = {"chat": UPSTREAM}
        visits = {
            guest: run(Server("direct", port, paths, guest=guest), scenario)["requests"] for guest in (True, False)
        }
    assert visits == {True: 1, False: 3}


def test_a_long_stream_has_time_for_the_slowest() -> None:
    flat_out = Scenario("x", "", 1, 20_000, 0).load(1, "/", "chat")
    paced = Scenario("x", "", 20, 400, 20).load(1, "/", "chat")
    assert flat_out.limit - paced.limit == pytest.approx(20_000 * 0.005 - 400 * 0.02)


def test_rounds_wake_a_guest_for_each_of_its_turns(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", ANSWERING, str(port)]
    server = Server("source", port, {"chat": UPSTREAM}, command, {"PYTHONPATH": str(ROOT)}, tmp_path, guest=True)
    said: list[str] = []
    server.start()
    try:
        results = rounds(Scenario("x", "", 2, 5, 1), {"source": server}, 2, said.append)
        wait_until(lambda: states(server) == {"T"}, "the guest to rest")
    finally:
        server.stop()
    assert [turn["errors"] for turn in results["source"]] == [0, 0]
    assert len(said) == 2
