"""A Codex CLI of our own, steered by tests; ``codex_cli_program.py`` is its executable.

They meet in the CLI's home folder. A scenario is a list of steps, each an object
with one of these keys:

    say        a message; ``deltas`` cuts it (app-server), ``phase`` names its kind
    think      a reasoning item of these summary parts
    command    a command, with ``output`` and ``exit``; change, search: likewise
    warn       a warning item         retrying   an error that passes
    fail       the turn fails with this message; ``info`` is its name (app-server)
    done       the turn completes, with this usage
    raw        text as it is, ``repeat`` times, ``end`` after it
    stderr     text to standard error
    pause      seconds                gate       waits until the test opens it
    hang       waits for ever         deaf       ignores SIGTERM from here on
    exit, die  ends by status, by signal
    leave      a process in a session of its own, which sleeps for so many seconds
"""

import json
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).resolve().with_name("codex_cli_program.py")

Json = dict[str, Any]


class FakeCli:
    """Steers the fake from a test.

    Args:
        folder: Where its home and its executable are made.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        for name in ("calls", "gates", "alive"):
            (self.home / name).mkdir(parents=True)
        self.bin = folder / "codex"
        self.bin.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "{PROGRAM}" "$@"\n')
        self.bin.chmod(0o755)
        self.play({"say": "Hello world"}, {"done": {}})

    def play(self, *steps: Json) -> None:
        """Sets the scenario of every turn from now on."""
        self.set("scenario", list(steps))

    def set(self, name: str, value: object) -> None:
        """Sets something the fake looks up: ``scenario``, ``models``, ``version``, ``without`` (lacking subcommands)."""
        (self.home / f"{name}.json").write_text(json.dumps(value))

    def open_gate(self, name: str) -> None:
        """Lets everybody pass who waits at this gate."""
        (self.home / "gates" / name).touch()

    def calls(self) -> list[Json]:
        """What the fake was started with and asked for, oldest first."""
        paths = sorted((self.home / "calls").iterdir(), key=lambda path: path.name)
        return [json.loads(path.read_text()) for path in paths if path.suffix == ".json"]

    def most_at_once(self) -> int:
        """How many of its processes were alive at the same time, at most."""
        counts = self.home / "counts"
        return max(map(int, counts.read_text().split())) if counts.exists() else 0
