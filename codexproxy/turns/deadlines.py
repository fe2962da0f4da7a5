"""How long upstream may take: connect, first event, idle and total are separate clocks."""

from dataclasses import dataclass

from codexproxy.errors import UpstreamTimeout


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Limits in seconds; None means none.

    Attributes:
        connect: Until the connection stands.
        first_event: From the request until upstream's first event.
        idle: Between two reads once events flow.
        total: From the request until the end of the answer.
    """

    connect: float | None = 10.0
    first_event: float | None = 120.0
    idle: float | None = 300.0
    total: float | None = 600.0


class Deadlines:
    """The clocks of one turn.

    Args:
        limits: The limits to hold.
        now: Monotonic seconds at the start of the turn.
    """

    def __init__(self, limits: TimeLimits, now: float) -> None:
        self.limits = limits
        self._began = now
        self._heard: float | None = None

    def heard(self, now: float) -> None:
        """Upstream sent something: the idle clock starts again. Our own heartbeats never do this."""
        self._heard = now

    def left(self, now: float) -> float:
        """Seconds until the nearest limit.

        Raises:
            UpstreamTimeout: A limit has passed; the message names it.
        """
        waiting = ("first event", self._began, self.limits.first_event)
        if self._heard is not None:
            waiting = ("idle", self._heard, self.limits.idle)
        clocks = [waiting, ("total", self._began, self.limits.total)]
        left = float("inf")
        for name, since, limit in clocks:
            if limit is not None:
                if now - since >= limit:
                    raise timed_out(name, limit)
                left = min(left, since + limit - now)
        return left


def timed_out(name: str, limit: float | None) -> UpstreamTimeout:
    """The error for a limit that ran out, named in the message."""
    seconds = f" of {limit:g} seconds" if limit is not None else ""
    return UpstreamTimeout(f"Upstream did not answer in time: the {name} limit{seconds} was reached. Please try again.")
