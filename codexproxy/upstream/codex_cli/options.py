"""How the local Codex CLI is run: handed over as values by the composition root."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codexproxy.protocol.deadlines import TimeLimits

# What the CLI keeps in its home and nobody else may read.
_SECRET_FILES = ("auth.json", "config.toml", ".env")

TRANSPORTS = ("auto", "app-server", "exec")

# An agent may be silent for as long as one of its commands runs, so only the whole turn is limited.
WHOLE_TURN = TimeLimits(connect=10.0, first_event=None, idle=None, total=600.0)


@dataclass(frozen=True, slots=True)
class CodexCliOptions:
    """Everything the backend has to know about its CLI.

    Attributes:
        bin: The executable: a name on PATH or a path.
        home: The CLI's own folder, ``CODEX_HOME``.
        workdir: Requests may work in folders below this one; each gets an empty folder of its own when None.
        sandbox_mode: Sandbox of requests that name none.
        local_only: Refuse providers that are not on this machine.
        allow_danger_full_access: Permit requests to ask for ``danger-full-access``.
        transport: ``app-server`` streams text as it is written, ``exec`` gives whole
            messages; ``auto`` takes the first and falls back to the second.
        limits: Time limits of a turn; ``connect`` is the CLI's time to start.
        patience: Seconds that a question which is no turn may take; a catalogue may be fetched for it.
        kill_grace: Seconds between asking a process to end and ending it.
        max_warm: Most idle app-server processes kept by this worker.
        warm_seconds: How long an idle one is kept.
        max_turns: Turns one app-server process serves before it is replaced.
        environment: The environment to choose from; never handed on whole.
        scratch: Where the folders of requests are made.
        hidden: Further files and folders that no command may see, such as our own data.
        linked: Finds the files of other programs that a login of ours lies in.
        key_workdirs: Where named keys have their folders, once there is a ``workdir``.
        project_docs: Whether AGENTS.md and skills of the folder it works in are followed.
        secret: Key of the marks that part messages in a prompt; random per backend when empty.
    """

    bin: str = "codex"
    home: Path = Path("~/.codex")
    workdir: Path | None = None
    sandbox_mode: str = "read-only"
    local_only: bool = False
    allow_danger_full_access: bool = False
    transport: str = "auto"
    limits: TimeLimits = WHOLE_TURN
    patience: float = 15.0
    kill_grace: float = 1.0
    max_warm: int = 2
    warm_seconds: float = 60.0
    max_turns: int = 50
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    scratch: Path = Path("/tmp")
    hidden: tuple[Path, ...] = ()
    linked: Callable[[], Sequence[Path]] = tuple
    key_workdirs: Path | None = None
    project_docs: bool = False
    secret: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if self.transport not in TRANSPORTS:
            raise ValueError(f"transport must be one of {', '.join(TRANSPORTS)}")
        object.__setattr__(self, "home", self.home.expanduser())

    def hidden_places(self) -> tuple[Path, ...]:
        """What no command may see, as real paths: logins, keys, our own data, and the folders of other runs."""
        user = Path(self.environment.get("HOME") or "~").expanduser()
        homes = (self.home, user / ".codex")
        # They may be links to files elsewhere.
        files = [home / name for home in homes for name in _SECRET_FILES]
        linked = [_narrowest(path, (user, self.workdir or user, Path.cwd())) for path in self.linked()]
        found = (*homes, *files, *linked, self.scratch, *self.hidden)
        places = dict.fromkeys(path.expanduser().resolve() for path in found)
        return tuple(path for path in places if path.exists() and not any(map(places.__contains__, path.parents)))


def _narrowest(path: Path, needed: Sequence[Path]) -> Path:
    """The folder of a login, hidden also when the file is replaced; the file alone, where more than logins is there."""
    folder = path.resolve().parent
    return path if any(place.resolve().is_relative_to(folder) for place in needed) else folder
