"""A person's home folder, and commands that run there."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from codexproxy.simulator.client import SimulatorClient
from tests.patience import patient
from tests.pseudo_terminal import ROOT, Terminal
from tests.service import free_port


class Home:
    """A person's home folder, and the login service they use.

    Args:
        folder: The folder.
        sim: The login service.
    """

    def __init__(self, folder: Path, sim: SimulatorClient) -> None:
        self.folder = folder
        self.sim = sim
        self.data = folder / "data"
        self.tokens = self.data / "tokens.json"
        self.environ = {
            "DATA_DIR": str(self.data),
            "CODEX_AUTH_ISSUER": sim.issuer_url,
            "CODEX_BACKEND_URL": sim.backend_url,
            "CODEX_CALLBACK_PORT": str(free_port()),
            "PORT": "1",
        }
        self._opened: list[Terminal] = []

    def at_terminal(self, *arguments: str, **environ: str) -> Terminal:
        """Runs a command at a terminal."""
        terminal = Terminal(self.folder, *arguments, **{**self.environ, **environ})
        self._opened.append(terminal)
        return terminal

    def run(self, *arguments: str, typed: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        """Runs a command without a terminal."""
        basics = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, "-m", "codexproxy", *arguments],
            env={**basics, **self.environ, **environ},
            cwd=self.folder,
            input=typed,
            capture_output=True,
            text=True,
            timeout=patient(60),
            check=False,
        )

    def stored(self) -> dict[str, Any]:
        """The login as it is kept; its file and folder must be private."""
        assert stat.S_IMODE(self.tokens.stat().st_mode) == 0o600
        assert stat.S_IMODE(self.data.stat().st_mode) == 0o700
        stored: dict[str, Any] = json.loads(self.tokens.read_text())
        return stored

    def login(self, **fields: Any) -> dict[str, Any]:
        """Puts a login of the simulator in place."""
        tokens = self.sim.login(**fields)
        self.data.mkdir(exist_ok=True, mode=0o700)
        self.tokens.touch(0o600)
        self.tokens.write_text(json.dumps(tokens))
        return tokens

    def close(self) -> None:
        """Ends every command that still runs at a terminal."""
        for terminal in self._opened:
            terminal.close()
