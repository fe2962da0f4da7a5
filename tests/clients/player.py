"""A real client as a process of its own, which plays scenes that it is told.

The programs lie in ``python/`` and ``node/``. They read one JSON object a line,
``{"scene": NAME, "args": {…}}``, and answer with ``{"result": …}`` or, where the
client itself raised, ``{"raised": {"type", "message", …}}``. One process plays the
scenes of many tests: importing such a client takes longer than a scene.
"""

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tests.clients import installing
from tests.patience import patient

HERE = Path(__file__).resolve().parent
PATIENCE = 60.0
# A port nobody serves: whoever calls the world out there is refused at once.
NOWHERE = "http://127.0.0.1:9"


def quiet_environment(home: Path, **more: str) -> dict[str, str]:
    """An environment with nothing of ours in it, no way out, and no reports to makers."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "HTTPS_PROXY": NOWHERE,
        "https_proxy": NOWHERE,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "OPENAI_API_KEY": "any",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "LANGSMITH_TRACING": "false",
        "AI_SDK_LOG_WARNINGS": "false",
        **more,
    }


class Raised(Exception):
    """What a client raised at its user; ``fields`` holds type, message and what else it told."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(f"{fields.get('type')}: {fields.get('message')}")
        self.fields = fields


class Player:
    """One client program.

    Args:
        argv: How it is started.
        home: Its home folder; its standard error goes to a file there.
    """

    def __init__(self, argv: list[str], home: Path) -> None:
        self._argv = argv
        self._home = home
        self._log = home / "stderr.log"
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def play(self, scene: str, **args: Any) -> Any:
        """Has a scene played and returns its result.

        Raises:
            Raised: The client raised.
            AssertionError: The program ended or took too long.
        """
        process = self._process if self._process and self._process.poll() is None else self._start()
        assert process.stdin is not None
        process.stdin.write(json.dumps({"scene": scene, "args": args}) + "\n")
        process.stdin.flush()
        try:
            line = self._lines.get(timeout=patient(PATIENCE))
        except queue.Empty:
            self.stop()
            raise AssertionError(
                f"no answer to the scene {scene} within {patient(PATIENCE):.0f} s\n{self._errors()}"
            ) from None
        if not line:
            self.stop()
            raise AssertionError(f"the client ended in the scene {scene}\n{self._errors()}")
        answer = json.loads(line)
        if "raised" in answer:
            raise Raised(answer["raised"])
        return answer["result"]

    def _errors(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]

    def _start(self) -> "subprocess.Popen[str]":
        self._lines = queue.Queue()
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with self._log.open("w") as log:
            environ = quiet_environment(self._home)
            process = subprocess.Popen(self._argv, cwd=self._home, env=environ, stderr=log, text=True, **pipes)
        self._process = process
        threading.Thread(target=_read, args=(process, self._lines), daemon=True).start()
        return process

    def stop(self) -> None:
        """Ends the program; harmless when it never began."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            process.wait(patient(5))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _read(process: "subprocess.Popen[str]", lines: "queue.Queue[str]") -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put("")


def run(argv: list[str], home: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Runs a client that is a command, in its home folder, to its end."""
    surroundings = quiet_environment(home, **environ)
    pipes: Any = {"stdin": subprocess.DEVNULL, "capture_output": True}
    return subprocess.run(
        argv, cwd=home, env=surroundings, text=True, timeout=patient(2 * PATIENCE), check=False, **pipes
    )


def own_player(program: str, home: Path) -> Player:
    """A program of ``python/`` for what the tests' own environment holds."""
    return Player([sys.executable, str(HERE / "python" / f"{program}.py")], home)


def python_player(environment: str, program: str, home: Path) -> Player:
    """A program of ``python/`` in the environment of that name."""
    folder = installing.install(environment)
    return Player([str(folder / "bin/python"), str(HERE / "python" / f"{program}.py")], home)


def node_player(program: str, home: Path) -> Player:
    """A program of ``node/``."""
    folder = installing.install("node")
    # Node looks for modules from where a script lies; so the scripts come to the modules.
    stage = folder / "scenes"
    stage.mkdir(exist_ok=True)
    for script in (HERE / "node").glob("*.mjs"):
        fresh = stage / f"{script.name}.{os.getpid()}"
        shutil.copy(script, fresh)
        fresh.rename(stage / script.name)
    return Player([installing.node(folder), str(stage / f"{program}.mjs")], home)
