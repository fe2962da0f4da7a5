"""What happened, counted; filled by all clients at once."""

import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Kill:
    """The end of a worker.

    Attributes:
        at: Monotonic seconds.
        ports: The clients' ports of the connections it had.
    """

    at: float
    ports: frozenset[int]


@dataclass(slots=True)
class Turns:
    """The turns of one key: those that must have a row in the ledger by the moment they ended, and others."""

    certain: list[float] = field(default_factory=list)
    perhaps: int = 0


class Tally:
    """Everything that is counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.faults: Counter[str] = Counter()
        self.unexplained: list[str] = []
        self.unexplained_count = 0
        self.kills: list[Kill] = []
        self.reloads = 0
        self.turns: defaultdict[str, Turns] = defaultdict(Turns)
        self.stored: dict[str, tuple[str, str]] = {}

    def came_out(self, kind: str, outcome: str) -> None:
        """Counts one exchange."""
        with self._lock:
            self.outcomes[kind, outcome] += 1

    def turned(self, key: str, ended: float | None) -> None:
        """Counts a turn of a key; None for one of which the ledger may know nothing."""
        with self._lock:
            if ended is None:
                self.turns[key].perhaps += 1
            else:
                self.turns[key].certain.append(ended)

    def failed_as_asked(self, fault: str) -> None:
        """Counts a failure that the injected fault explains."""
        with self._lock:
            self.faults[fault] += 1

    def kept(self, id: str, key: str, text: str) -> None:
        """Notes a stored response, whose it is and what it says."""
        with self._lock:
            self.stored[id] = (key, text)

    def killed(self, ports: frozenset[int]) -> None:
        """Notes the end of a worker."""
        with self._lock:
            self.kills.append(Kill(time.monotonic(), ports))

    def wrong(self, what: str) -> None:
        """Notes what nothing explains."""
        with self._lock:
            self.unexplained_count += 1
            if len(self.unexplained) < SHOWN:
                self.unexplained.append(what)

    def was_killed(self, port: int, began: float, ended: float) -> bool:
        """Whether a connection was one of a worker that was killed meanwhile."""
        # The kill is noted just after it, so the client may be a moment ahead.
        deadline = time.monotonic() + 0.5
        while True:
            with self._lock:
                kills = list(self.kills)
            if any(port in kill.ports and began - 0.5 <= kill.at <= ended + 0.5 for kill in kills):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
