"""How long upstream may take: connect, first event, idle and total are separate clocks."""

from dataclasses import dataclass

from codexproxy.errors import UpstreamTimeout

_INFINITE = float("inf")


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Limits in seconds; None means none.

    Attributes:
        connect: Until the connection stands.
        first_event: From the request until upstream's first event.
        idle: Between two events, or parts of one, once events flow.
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
        self._idle = _INFINITE if limits.idle is None else limits.idle
        self._end = _INFINITE if limits.total is None else now + limits.total
        self._waiting_for = "first event"
        # Asked before every read, so only the nearest limit is kept.
        self._due = self._end if limits.first_event is None else min(now + limits.first_event, self._end)

    def heard(self, now: float) -> None:
        """Upstream sent an event, or a part of one: the idle clock starts again.

        Heartbeats never do this, neither our own nor upstream's.
        """
        self._waiting_for = "idle"
        due = now + self._idle
        self._due = due if due < self._end else self._end

    def left(self, now: float) -> float:
        """Seconds until the nearest limit.

        Raises:
            UpstreamTimeout: A limit has passed; the message names it.
        """
        left = self._due - now
        if left <= 0:
            raise self.overdue()
        return left

    def is_due(self, now: float) -> bool:
        """Whether a limit has passed."""
        return now >= self._due

    def overdue(self) -> UpstreamTimeout:
        """The error for the limit that runs out next."""
        if self._due == self._end:
            return timed_out("total", self.limits.total)
        idle = self._waiting_for == "idle"
        return timed_out(self._waiting_for, self.limits.idle if idle else self.limits.first_event)


def timed_out(name: str, limit: float | None) -> UpstreamTimeout:
    """The error for a limit that ran out, named in the message."""
    seconds = f" of {limit:g} seconds" if limit is not None else ""
    return UpstreamTimeout(f"Upstream did not answer in time: the {name} limit{seconds} was reached. Please try again.")
