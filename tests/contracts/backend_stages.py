"""Places where backends are tried: each can be told what upstream will do next, in the same words.

The steps are those of ``tests.fakes.codex_cli``; ``status`` and ``body`` are what an upstream that speaks HTTP
answers instead of a ``fail``.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from codexproxy.gunicorn.socket_wait import wait_readable
from codexproxy.protocol.request import Credential
from codexproxy.protocol.stream import TimeLimits
from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import cut_after, http, message, stall_at, think
from codexproxy.upstream.base import Backend
from codexproxy.upstream.chatgpt.client import ChatGptBackend
from codexproxy.upstream.chatgpt.transport import Transport
from codexproxy.upstream.codex_cli import CodexCliBackend, CodexCliOptions
from codexproxy.upstream.codex_cli.process.run_folder import RUN
from codexproxy.upstream.openai_compatible import RelayAddress, RelayBackend
from tests.fakes.codex_cli import FakeCli
from tests.patience import patient
from tests.upstream.codex_cli.real_cli import installed, write_config

Json = dict[str, Any]

PATIENCE = 0.15


class Stage(Protocol):
    """A backend and its upstream.

    Attributes:
        deltas: Whether texts come in pieces.
        has_quota: Whether its account has one.
    """

    deltas: bool
    has_quota: bool

    def play(self, *steps: Json) -> None:
        """What upstream does with every turn from now on."""

    def backend(self, total: float | None = 30.0) -> Backend:
        """The backend, with this limit of a whole turn in seconds."""

    def in_use(self) -> int:
        """How many streams or busy processes upstream has for us."""

    def secrets(self) -> list[str]:
        """What gives access to upstream, and nobody may see."""

    def open_gate(self, name: str) -> None:
        """Lets upstream go on behind a ``gate`` step."""

    def close(self) -> None:
        """Ends what is left."""


class Credentials:
    """A login at the simulator."""

    def __init__(self, sim: SimulatorClient) -> None:
        self._tokens = sim.login()

    def current(self) -> Credential:
        return Credential(self._tokens["access_token"], self._tokens["account_id"])

    def recover(self, rejected: str) -> Credential:
        return self.current()


def script_of(steps: tuple[Json, ...]) -> Json:
    """The steps as a script of the simulator."""
    if "status" in steps[-1] and len(steps) == 1:
        return http(steps[0]["status"], steps[0]["body"])
    items = [message(*step.get("deltas", [step["say"]])) for step in steps if "say" in step]
    items = [think(*step["think"]) for step in steps if "think" in step] + items
    script: Json = {"items": items}
    if "code" in steps[-1]:
        script |= {"end": "failed", "error": {"code": steps[-1]["code"], "message": steps[-1]["fail"]}}
    for number, step in enumerate(steps):
        place = {"at": "first_event"} if number == 0 else {"event": -2}
        if "gate" in step:
            script = stall_at(script, gate=step["gate"], **place)
        elif "hang" in step:
            script = stall_at(script, **place)
        elif "exit" in step:
            script = cut_after(script, event=-1)
    return script


class ChatGptStage:
    """The Codex backend over HTTP, at the simulator."""

    deltas = True
    has_quota = True

    def __init__(self, sim: SimulatorClient) -> None:
        self._sim = sim
        self._credentials = Credentials(sim)

    def play(self, *steps: Json) -> None:
        self._sim.script(script_of(steps), repeat=-1)

    def backend(self, total: float | None = 30.0) -> Backend:
        url = self._sim.backend_url
        limits = TimeLimits(total=total)
        return ChatGptBackend(
            "stage", url, Transport(url, {}), self._credentials, limits=limits, wait=wait_readable, patience=PATIENCE
        )

    def secrets(self) -> list[str]:
        return [self._credentials.current().token]

    def in_use(self) -> int:
        return int(self._sim.counters()["open_streams"])

    def open_gate(self, name: str) -> None:
        self._sim.open_gate(name)

    def close(self) -> None:
        self._sim.reset()


class RelayStage(ChatGptStage):
    """A relay with a key; the simulator plays it, and takes an access token for the key."""

    has_quota = False

    def backend(self, total: float | None = 30.0) -> Backend:
        url = f"{self._sim.backend_url}/codex"
        self._sim.rules(account_id_must_match=False, user_agent_like_codex=False)
        models = {"object": "list", "data": [{"id": "gpt-5.5", "object": "model", "owned_by": "codex"}]}
        self._sim.script(http(200, models), endpoint="models", repeat=-1)
        address = RelayAddress(url, self._credentials.current().token)
        limits = TimeLimits(total=total)
        return RelayBackend("stage", address, Transport(url, {}), limits=limits, wait=wait_readable, patience=PATIENCE)


class CliStage:
    """The CLI backend with a fake CLI.

    Args:
        folder: Where the fake lives.
        transport: ``exec`` or ``app-server``.
    """

    has_quota = True

    def __init__(self, folder: Path, transport: str) -> None:
        self.deltas = transport == "app-server"
        self.cli = FakeCli(folder)
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self.transport = transport
        self._made: list[CodexCliBackend] = []

    def options(self, **more: Any) -> CodexCliOptions:
        values: dict[str, Any] = {
            "bin": str(self.cli.bin),
            "home": self.cli.home,
            "scratch": self.scratch,
            "transport": self.transport,
            "environment": {"PATH": os.environ["PATH"], "UPSTREAM_KEY": "key of the environment"},
        }
        return CodexCliOptions(**{**values, **more})

    def secrets(self) -> list[str]:
        return ["key of the environment"]

    def play(self, *steps: Json) -> None:
        self.cli.play(*steps)

    def backend(self, total: float | None = 30.0, **more: Any) -> CodexCliBackend:
        limits = TimeLimits(first_event=None, idle=None, total=total)
        backend = CodexCliBackend("stage", self.options(**{"limits": limits, **more}), patience=PATIENCE)
        self._made.append(backend)
        return backend

    def in_use(self) -> int:
        idle = sum(backend.idle() for backend in self._made)
        return len(processes_of_home(self.cli.home)) - idle

    def open_gate(self, name: str) -> None:
        self.cli.open_gate(name)

    def close(self) -> None:
        for backend in self._made:
            backend.close()


class RealCliStage:
    """The CLI backend with the real CLI, at the simulator.

    Args:
        folder: Where its home and its runs are.
        transport: ``exec`` or ``app-server``.
        sim: Its upstream.
    """

    # Its provider is one with a key, not an account with a plan.
    has_quota = False

    def __init__(self, folder: Path, transport: str, sim: SimulatorClient) -> None:
        self.deltas = transport == "app-server"
        self.home = folder / "home"
        self.scratch = folder / "scratch"
        self.scratch.mkdir(parents=True)
        self._transport = transport
        self._sim = sim
        # The CLI sends its instructions as a developer message (docs/reference/requests.md#body-of-a-turn).
        sim.rules(instructions_required=False)
        self.environment = write_config(self.home, sim)
        self._made: list[CodexCliBackend] = []

    def play(self, *steps: Json) -> None:
        self._sim.script(script_of(steps), repeat=-1)

    def backend(self, total: float | None = 30.0, **more: Any) -> CodexCliBackend:
        values: dict[str, Any] = {
            "bin": str(installed()),
            "home": self.home,
            "scratch": self.scratch,
            "transport": self._transport,
            "environment": self.environment,
            "limits": TimeLimits(first_event=None, idle=None, total=total),
        }
        backend = CodexCliBackend("stage", CodexCliOptions(**{**values, **more}), patience=PATIENCE)
        self._made.append(backend)
        return backend

    def secrets(self) -> list[str]:
        return [self.environment["SIM_TOKEN"]]

    def in_use(self) -> int:
        idle = sum(backend.idle() for backend in self._made)
        # A helper of the CLI's may end between the two looks.
        runs = {run_of(pid) for pid in processes_of_home(self.home)} - {""}
        return max(len(runs) - idle, int(self._sim.counters()["open_streams"]))

    def open_gate(self, name: str) -> None:
        self._sim.open_gate(name)

    def close(self) -> None:
        for backend in self._made:
            backend.close()
        self._sim.reset()


def run_of(pid: int) -> str:
    """Which run a process belongs to; empty when it has just ended."""
    try:
        pairs = (Path("/proc") / str(pid) / "environ").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return ""
    return next((pair for pair in pairs if pair.startswith(f"{RUN}=")), "")


def processes_of_home(home: Path) -> list[int]:
    """The live processes of runs with this home folder: the CLIs, and what they started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            marked = any(pair.startswith(f"{RUN}=".encode()) for pair in environment)
            if marked and f"CODEX_HOME={home}".encode() in environment:
                found.append(int(entry.name))
    return found


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Waits until the condition holds.

    Raises:
        AssertionError: It did not hold in time.
    """
    deadline = time.monotonic() + patient(seconds)
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not hold within {seconds} seconds"
        time.sleep(0.005)
