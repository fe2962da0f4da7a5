"""Proxies of the same kind that are measured only where somebody has installed them (``make bench-peers``)."""

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.targets.server import token

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LAUNCH, REDIRECT = HERE / "launch.py", HERE / "redirect.mjs"
PYPI, NPM = "pypi", "npm"
ACCOUNT = "acc-bench"


@dataclass(frozen=True, slots=True)
class Peer:
    """One of them, and where it comes from.

    Attributes:
        name: What it is called in the results and in the goals.
        package: What its registry is asked for, with the version.
        registry: ``pypi`` or ``npm``.
        python: The oldest Python it runs on.
    """

    name: str
    package: str
    registry: str
    python: tuple[int, int] = (3, 11)

    @property
    def folder(self) -> Path:
        """Its own environment; below ``BENCH_PEERS`` if that is set."""
        return Path(os.environ.get("BENCH_PEERS") or ROOT / ".cache" / "peers") / self.name

    @property
    def stamp(self) -> Path:
        """Says which version the environment holds."""
        return self.folder / "installed"

    @property
    def installed(self) -> bool:
        """Whether it is there, in the version that is named here."""
        return self.stamp.exists() and self.stamp.read_text() == self.package

    def program(self, name: str) -> str:
        """A program of its environment: one of a Python peer's ``bin``."""
        return str(self.folder / "bin" / name)

    def node(self, script: str) -> list[str]:
        """The command that runs a script of a Node peer."""
        return [shutil.which("node") or "node", str(self.folder / "node_modules" / script)]


def launched(
    python: str, start: str, constants: Mapping[str, Any], lifted: Mapping[str, Mapping[str, Any]] | None = None
) -> list[str]:
    """The command that starts a Python server with other constants (see ``launch.py``)."""
    # -P: modules of this folder have the names of packages.
    return [python, "-P", str(LAUNCH), json.dumps({"start": start, "constants": constants, "lifted": lifted or {}})]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """What every one of them gets: a home of its own, so that it finds no real login."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder), **more}


def redirected(source_port: int) -> dict[str, str]:
    """What makes Node send all that leaves this machine to the source (see ``redirect.mjs``)."""
    return {"NODE_OPTIONS": f"--import {REDIRECT.as_uri()}", "BENCH_SOURCE": f"http://127.0.0.1:{source_port}"}


def codex_url(source_port: int) -> str:
    """The source's address in place of the upstream's."""
    return f"http://127.0.0.1:{source_port}/backend-api/codex"


def tokens() -> dict[str, str]:
    """A login the source takes, as all of them name its parts."""
    return {"access_token": token(), "id_token": token(), "refresh_token": "bench", "account_id": ACCOUNT}


def write_login(path: Path) -> Path:
    """The login as the Codex CLI keeps it, fresh, so that nobody renews it."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return write_json(path, {"tokens": tokens(), "last_refresh": now})


def write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> Path:
    """Writes JSON."""
    path.write_text(json.dumps(content))
    return path
