"""Clearing away what is too old or too much, for as long as a worker lives."""

import logging
import random
import threading
from collections.abc import Callable
from typing import Protocol

from codexproxy.errors import ProxyError

# Seconds between two sweeps, about.
EVERY = 60.0
# Seconds before the first one: at the start others have more to do.
FIRST = 2.0

log = logging.getLogger(__name__)


class Office(Protocol):
    """Whether this process is the one that sweeps: ``Leadership``."""

    def is_leader(self) -> bool:
        """See ``Leadership.is_leader``."""


class Swept(Protocol):
    """What can be swept."""

    def sweep(self) -> object:
        """Clears away what nobody needs any more."""


class Sweeper:
    """Sweeps something now and then, in the process that leads.

    Args:
        what: What it is, for log lines.
        store: What is swept.
        office: Who leads; None where every process sweeps.
        chance: Random numbers from [0, 1).
    """

    def __init__(
        self, what: str, store: Swept, office: Office | None = None, chance: Callable[[], float] = random.random
    ) -> None:
        self._what = what
        self._store = store
        self._office = office
        self._chance = chance
        self._stopped = threading.Event()

    def start(self) -> None:
        """Sweeps in a thread of its own, which gevent turns into a greenlet; call it after the fork."""
        threading.Thread(target=self.run, name="sweep", daemon=True).start()

    def stop(self) -> None:
        """Ends ``run`` soon."""
        self._stopped.set()

    def run(self) -> None:
        """Sweeps until ``stop``."""
        pause = FIRST * self._chance()
        while not self._stopped.wait(pause):
            self.step()
            pause = EVERY * (0.5 + self._chance())

    def step(self) -> None:
        """Sweeps once, where this process leads."""
        try:
            if self._office is None or self._office.is_leader():
                self._store.sweep()
        except (ProxyError, OSError) as error:
            log.warning("%s were not cleaned up: %s", self._what, error)
        except Exception:  # a bug must not end the sweeping for as long as the process lives
            log.exception("unexpected error while cleaning up %s", self._what)


class Sweepers:
    """Several of them, started together."""

    def __init__(self, *sweepers: Sweeper) -> None:
        self._sweepers = sweepers

    def start(self) -> None:
        """See ``Sweeper.start``."""
        for sweeper in self._sweepers:
            sweeper.start()
