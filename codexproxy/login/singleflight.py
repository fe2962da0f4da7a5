"""Work that many wait for and that nobody's leaving interrupts.

A refresh that is cut between the issuer's rotation and our write loses the
login. Requests are cut all the time (their client went away), so the refresh
runs in a thread of its own, which gevent turns into a greenlet.
"""

import logging
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Generic, TypeVar

from codexproxy.errors import ProxyError, UpstreamFailed

log = logging.getLogger(__name__)

T = TypeVar("T")


class Flight(Generic[T]):
    """One piece of work under way."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._landed = threading.Event()
        self._result: list[T] = []
        self._failure: ProxyError = UpstreamFailed("The work was interrupted. Please try again.")

    def fly(self) -> None:
        """Does the work."""
        try:
            self._result.append(self._work())
        except ProxyError as failure:
            self._failure = failure
        except Exception:  # a bug, which nobody would see in this thread
            log.exception("A bug interrupted the renewal of the login.")

    def land(self) -> None:
        """Wakes those who wait."""
        self._landed.set()

    def wait(self, timeout: float) -> bool:
        """Waits at most ``timeout`` seconds; whether the work is over."""
        return self._landed.wait(timeout)

    def result(self) -> T:
        """What came of it.

        Raises:
            ProxyError: The work's own failure.
        """
        if self._result:
            return self._result[0]
        raise self._failure.with_traceback(None)


class SingleFlight(Generic[T]):
    """At most one flight at a time in this process."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._flight: Flight[T] | None = None

    def join(self, work: Callable[[], T]) -> tuple[Flight[T], bool]:
        """Joins the flight under way, or starts one.

        Returns:
            The flight, and whether it is this call that started it.
        """
        with self._gate:
            if self._flight is not None:
                return self._flight, False
            flight = self._flight = Flight(work)
        # No daemon: the process stays until a pair on its way has been written.
        # The context goes along, so that log lines name the request that began it.
        work_in_context = partial(copy_context().run, self._run, flight)
        thread = threading.Thread(target=work_in_context, name="token-refresh", daemon=False)
        try:
            thread.start()
        except RuntimeError:  # the host has no thread left
            self._flight = None
            flight.land()
        return flight, True

    def settle(self, timeout: float) -> bool:
        """Waits for the flight under way, if any; whether none is left."""
        flight = self._flight
        return flight is None or flight.wait(timeout)

    def _run(self, flight: Flight[T]) -> None:
        try:
            flight.fly()
        finally:
            self._flight = None
            flight.land()
