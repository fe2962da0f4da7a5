"""aider without a terminal, in a repository of its own: it asks, gets an edit, applies and commits it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import http, say
from tests.clients.player import run
from tests.clients.relay import Relay

BEFORE, AFTER = 'def hello():\n    print("hello")\n', 'def hello():\n    print("goodbye")\n'
EDIT = """I change the greeting.

hello.py
```
<<<<<<< SEARCH
    print("hello")
=======
    print("goodbye")
>>>>>>> REPLACE
```
"""
OPTIONS = (
    "--model openai/gpt-5.2 --weak-model openai/gpt-5.2 --openai-api-key any --yes-always --no-pretty --map-tokens 0 "
    "--no-check-update --analytics-disable --no-show-model-warnings --no-show-release-notes --no-gitignore"
)

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="a client cannot be installed: aider has no release for this Python"
)


class Aider:
    """The installed command in a repository with one file."""

    def __init__(self, binary: Path, home: Path, base_url: str) -> None:
        self._argv = [str(binary), *OPTIONS.split(), "--openai-api-base", base_url]
        self.home = home
        (home / "hello.py").write_text(BEFORE)
        self.git("init", "-q")
        self.git("config", "user.name", "Ann")
        self.git("config", "user.email", "ann@example.com")
        self.git("add", "hello.py")
        self.git("commit", "-q", "-m", "First")

    def git(self, *words: str) -> str:
        return subprocess.run(["git", *words], cwd=self.home, check=True, capture_output=True, text=True).stdout

    def __call__(self, message: str, *options: str) -> str:
        done = run([*self._argv, *options, "--message", message, "hello.py"], self.home)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def aider(installed: Callable[[str], Path], relay: Relay, tmp_path: Path) -> Aider:
    return Aider(installed("aider") / "bin/aider", tmp_path, relay.base_url)


def test_a_streamed_edit_is_applied_and_committed(aider: Aider, sim: SimulatorClient) -> None:
    sim.script(say(*EDIT.splitlines(keepends=True)))
    sim.script(say("fix: Say goodbye"))
    told = aider("Say goodbye instead.")
    assert "Applied edit to hello.py" in told
    assert (aider.home / "hello.py").read_text() == AFTER
    assert aider.git("log", "-1", "--format=%s") == "fix: Say goodbye\n"
    asked, _ = sim.turns()
    # Its rules come as a system message, and once more behind the question.
    assert "expert software developer" in asked["json"]["instructions"]
    assert {item["role"] for item in asked["json"]["input"]} <= {"user", "assistant", "developer"}


def test_an_edit_in_one_piece_with_its_own_knobs(aider: Aider, sim: SimulatorClient) -> None:
    sim.script(say(EDIT))
    aider("Say goodbye instead.", "--no-stream", "--no-auto-commits", "--reasoning-effort", "low")
    assert (aider.home / "hello.py").read_text() == AFTER
    assert sim.last_turn()["json"]["reasoning"]["effort"] == "low"


def test_a_refusal_is_shown_and_changes_nothing(aider: Aider, sim: SimulatorClient) -> None:
    sim.script(http(400, {"error": {"message": "Your text is upsetting.", "code": "invalid_prompt"}}), repeat=9)
    assert "Your text is upsetting." in aider("Say goodbye instead.")
    assert (aider.home / "hello.py").read_text() == BEFORE
    assert len(sim.turns()) == 1
