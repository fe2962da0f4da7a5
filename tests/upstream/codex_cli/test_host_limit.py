"""The processes of a host are counted over all its workers, warm ones included, and nothing is left of them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from codexproxy.access.slots import Slots
from tests.contracts.backend_stages import CliStage, eventually, processes_of_home
from tests.patience import patient

ROOT = Path(__file__).resolve().parents[3]


def worker(stage: CliStage, *arguments: object) -> "subprocess.Popen[str]":
    """A worker under gevent, see ``cli_worker``."""
    folder = stage.scratch.parent
    command = [sys.executable, "-m", "tests.upstream.codex_cli.cli_worker", str(folder), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def report(process: "subprocess.Popen[str]") -> dict[str, Any]:
    output, _ = process.communicate(timeout=patient(120))
    assert process.returncode == 0
    return dict(json.loads(output))


def test_sixty_four_turns_share_four_places(stage: CliStage) -> None:
    stage.play({"pause": 0.02}, {"say": "Hello"}, {"done": {}})
    told = report(worker(stage, stage.transport, 4, 64))
    assert told["outcomes"] == {"response.completed": 64}
    assert (told["busy"], told["waiting"]) == (0, 0)
    assert stage.cli.most_at_once() <= 4
    # Far more than a busy machine takes from a worker, far less than a wait that would hold it up.
    assert told["longest_stop"] < 3


def test_three_workers_share_them_too(stage: CliStage) -> None:
    stage.play({"pause": 0.02}, {"say": "Hello"}, {"done": {}})
    workers = [worker(stage, stage.transport, 4, 22) for _ in range(3)]
    told = [report(process) for process in workers]
    assert [outcome["outcomes"] for outcome in told] == [{"response.completed": 22}] * 3
    assert Slots(stage.scratch.parent / "slots", 4, 0).busy() == 0
    assert 1 < stage.cli.most_at_once() <= 4


def test_whoever_waits_too_long_gets_a_429(exec_stage: CliStage) -> None:
    exec_stage.play({"gate": "go"}, {"say": "Hello"}, {"done": {}})
    process = worker(exec_stage, "exec", 1, 4, 0.5)
    eventually(lambda: exec_stage.cli.calls() != [])
    # Three of the four give up after half a second; then the first one may end.
    eventually(lambda: list((exec_stage.scratch.parent / "slots" / "queue").iterdir()) == [], 10)
    exec_stage.open_gate("go")
    assert report(process)["outcomes"] == {"queue_timeout": 3, "response.completed": 1}


def test_clients_that_leave_take_their_places_and_processes_with_them(stage: CliStage) -> None:
    stage.play({"think": ["begun"]}, {"leave": 60}, {"hang": True})
    told = report(worker(stage, stage.transport, 2, 8, 60, 1.0))
    assert (told["outcomes"], told["busy"], told["waiting"]) == ({}, 0, 0)
    assert processes_of_home(stage.cli.home) == []
    assert list(stage.scratch.iterdir()) == []
