"""Every path below the data folder, written down once: file names are part of what an upgrade must keep."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

DEFAULT_PROFILE = "default"


@dataclass(frozen=True, slots=True)
class ProfileDir:
    """The files of one profile's login.

    Attributes:
        root: The folder; for the default profile the data folder itself.
    """

    root: Path

    @property
    def tokens(self) -> Path:
        """The login of the profile itself, JSON."""
        return self.root / "tokens.json"

    @property
    def login_link(self) -> Path:
        """Points to another program's login, JSON."""
        return self.root / "login.json"

    @property
    def pending_logins(self) -> Path:
        """Logins that were begun and not finished, SQLite."""
        return self.root / "logins.db"

    @property
    def refresh_leader(self) -> Path:
        """Locked by the process that renews the login in the background."""
        return self.root / "refresh.leader"


@dataclass(frozen=True, slots=True)
class DataDir:
    """The data folder of one service.

    Attributes:
        root: The folder, as ``DATA_DIR`` names it.
    """

    root: Path

    @property
    def keys(self) -> Path:
        """API keys made by ``codexproxy keys``, JSON."""
        return self.root / "keys.json"

    @property
    def ledger(self) -> Path:
        """One row per turn, SQLite."""
        return self.root / "ledger.sqlite3"

    @property
    def journal(self) -> Path:
        """Folder of the turns under way, one file per worker."""
        return self.root / "journal"

    @property
    def responses(self) -> Path:
        """Stored responses, SQLite."""
        return self.root / "responses.sqlite3"

    @property
    def responses_leader(self) -> Path:
        """Locked by the process that purges stored responses."""
        return self.root / "responses.leader"

    @property
    def limits(self) -> Path:
        """Counters of rate limits and budgets, SQLite."""
        return self.root / "limits.sqlite3"

    @property
    def quotas(self) -> Path:
        """The last quota of each provider, SQLite."""
        return self.root / "quotas.sqlite3"

    @property
    def affinity(self) -> Path:
        """Which account answered a conversation, SQLite."""
        return self.root / "affinity.sqlite3"

    @property
    def conversations(self) -> Path:
        """Ids of conversations, SQLite."""
        return self.root / "conversations.sqlite3"

    @property
    def prompts(self) -> Path:
        """Folder of synchronised instructions."""
        return self.root / "prompts"

    @property
    def slots(self) -> Path:
        """Folder of the locked files of running turns, and of the queue for them."""
        return self.root / "slots"

    @property
    def parallel(self) -> Path:
        """Folder of the locked files of running turns, by key."""
        return self.root / "parallel"

    @property
    def cli_runs(self) -> Path:
        """Scratch folder of the local Codex CLI."""
        return self.root / "runs"

    @property
    def cli_workdirs(self) -> Path:
        """Folder of the working directories that keys have in the local Codex CLI."""
        return self.root / "workdirs"

    @property
    def profiles(self) -> Path:
        """Folder of the logins of all profiles but the default one."""
        return self.root / "profiles"

    def profile(self, name: str = DEFAULT_PROFILE) -> ProfileDir:
        """The files of a profile's login."""
        return ProfileDir(self.root if name == DEFAULT_PROFILE else self.profiles / name)

    def all_profiles(self) -> Iterator[ProfileDir]:
        """Every profile that has a folder, the default one first."""
        yield self.profile()
        with suppress(OSError):
            yield from map(ProfileDir, sorted(self.profiles.iterdir()))
