"""The real Codex CLI as a user of the service."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.patience import patient

Json = dict[str, Any]

PATIENCE = 90.0


@dataclass
class Told:
    """What one run of ``codex exec --json`` told.

    Attributes:
        code: Its exit code.
        events: The JSON lines.
        errors: What it wrote to standard error.
    """

    code: int
    events: list[Json]
    errors: str

    def items(self, type: str) -> list[Json]:
        """Finished items of a type, such as ``agent_message``."""
        done = [event["item"] for event in self.events if event["type"] == "item.completed"]
        return [item for item in done if item["type"] == type]

    @property
    def text(self) -> str:
        """The last message."""
        return str(self.items("agent_message")[-1]["text"])

    @property
    def failure(self) -> str:
        """Why the turn failed."""
        return next(str(event["error"]["message"]) for event in self.events if event["type"] == "turn.failed")


@dataclass
class Cli:
    """One user's CLI: its program, its settings, the folder it works in.

    Attributes:
        bin: The program.
        home: Its own folder.
        workdir: Where it works.
        environ: Further environment variables.
    """

    bin: Path
    home: Path
    workdir: Path
    environ: dict[str, str] = field(default_factory=dict)

    def configure(self, text: str) -> None:
        """Writes its ``config.toml``."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.workdir.mkdir(parents=True, exist_ok=True)
        (self.home / "config.toml").write_text(text)

    def exec(self, prompt: str, *options: str, command: tuple[str, ...] = (), model: str = "gpt-5.5") -> Told:
        """Runs one turn to its end.

        Args:
            prompt: What is asked.
            options: Further options of ``codex exec``.
            command: A command below ``exec``, such as ``resume --last``.
            model: Which model.
        """
        own = ("--json", "--skip-git-repo-check", "-C", str(self.workdir), "-m", model)
        done = subprocess.run(
            [str(self.bin), "exec", *own, *options, *command, "--", prompt],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=patient(PATIENCE),
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "CODEX_HOME": str(self.home), **self.environ},
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        return Told(done.returncode, [json.loads(line) for line in lines], done.stderr)
