"""Renewing the login before traffic needs it: one process of the host, at a random moment."""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Protocol

from codexproxy.errors import ProxyError
from codexproxy.login.credentials import Credentials
from codexproxy.login.tokens.tokens import NEVER, Tokens

log = logging.getLogger(__name__)

LONGEST_SLEEP = 5.0
SHORTEST_SLEEP = 0.05

# How long before the pair is due it may be renewed: up to five minutes, and
# never more than this share of the time it is good for.
EARLIEST = 300_000
SHARE = 8

SCHEDULED = "scheduled"


class Office(Protocol):
    """Whether this process is the one that does it: ``Leadership``."""

    def is_leader(self) -> bool:
        """See ``Leadership.is_leader``."""


class BackgroundRefresh:
    """Watches the login and renews it ahead of time, in the process that leads.

    Args:
        credentials: The login.
        office: Who leads.
        clock: Epoch seconds.
        chance: Random numbers from [0, 1).
    """

    def __init__(
        self,
        credentials: Credentials,
        office: Office,
        *,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._credentials = credentials
        self._office = office
        self._clock = clock
        self._chance = chance
        self._stopped = threading.Event()
        self._planned: tuple[str, int] = ("", NEVER)

    def start(self) -> None:
        """Runs in a thread of its own, which gevent turns into a greenlet; call it after the fork."""
        threading.Thread(target=self.run, name="background-refresh", daemon=True).start()

    def stop(self) -> None:
        """Ends ``run`` soon."""
        self._stopped.set()

    def run(self) -> None:
        """Renews the login whenever its moment has come, until ``stop``."""
        pause = SHORTEST_SLEEP
        while not self._stopped.wait(pause):
            pause = self.step()

    def step(self) -> float:
        """Does what is to be done now.

        Returns:
            Seconds until the next step.
        """
        try:
            if not self._office.is_leader():
                return LONGEST_SLEEP
            return self._renew_in_time()
        except ProxyError as failure:
            log.debug("The login was not renewed ahead of time: %s", failure)
        except Exception:  # a bug must not end the watch for as long as the process lives
            log.exception("Unexpected error while renewing the login in the background.")
        return LONGEST_SLEEP

    def _renew_in_time(self) -> float:
        tokens = self._credentials.peek()
        if tokens is None or tokens.refresh_error or not tokens.refresh_token:
            return LONGEST_SLEEP
        self._credentials.reserve()
        now = int(self._clock() * 1000)
        moment = self._moment(tokens)
        if now >= moment:
            self._credentials.refresh(SCHEDULED)
            return SHORTEST_SLEEP
        return min(max((moment - now) / 1000, SHORTEST_SLEEP), LONGEST_SLEEP)

    def _moment(self, tokens: Tokens) -> int:
        """When to renew this pair: chosen once, so that looking often does not make it earlier."""
        if self._planned[0] != tokens.access_token:
            good_for = max(tokens.due_at - tokens.updated_at, 0)
            lead = int(min(EARLIEST, good_for // SHARE) * self._chance())
            self._planned = (tokens.access_token, tokens.due_at - lead)
        return self._planned[1]
