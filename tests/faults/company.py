"""A service in company: two workers, keys with limits, and commands that look at its data folder meanwhile."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from threading import Event

from codexproxy.access.keys import hash_key
from tests.patience import patient
from tests.service import ROOT, Service

COMMANDS = (["usage"], ["quota"], ["keys", "list"], ["status"], ["doctor"])
# Far from being reached, so that each request is counted and none refused.
LIMITS = {"ratePerMinute": 1000, "tokensPerDay": 10_000_000, "maxParallel": 50}


def limited_key(name: str) -> dict[str, object]:
    """A row of ``users[]`` whose key is called like it, with every limit."""
    return {"name": name, "apiKeyHash": hash_key(name), **LIMITS}


def in_company(folder: Path) -> dict[str, str]:
    """Settings of a service with two workers whose only key, ``simulator``, is limited."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.json"
    path.write_text(json.dumps({"users": [limited_key("simulator")]}))
    return {"WEB_CONCURRENCY": "2", "CONFIG_PATH": str(path)}


@contextmanager
def looked_at(service: Service) -> Iterator[list[tuple[str, int, str]]]:
    """Runs all commands again and again, each at least once; their names, exit codes and errors."""
    ran: list[tuple[str, int, str]] = []
    over = Event()

    def look() -> None:
        for command in cycle(COMMANDS):
            done = subprocess.run(
                [*service.launcher, "-m", "codexproxy", *command],
                cwd=ROOT,
                env=service.environ,
                capture_output=True,
                text=True,
                timeout=patient(60),
            )
            ran.append((" ".join(command), done.returncode, done.stderr))
            if over.is_set() and len(ran) >= len(COMMANDS):
                return

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        try:
            yield ran
        finally:
            over.set()
            looking.result()
    assert not [told for told in ran if told[1] not in (0, 1) or "Traceback" in told[2]]
