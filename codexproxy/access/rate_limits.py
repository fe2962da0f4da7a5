"""Rate limits: requests per minute of each key and of all keys, tokens per day, and the quota a key must leave."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.storage import Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from codexproxy.access.authorization import Identity
from codexproxy.access.limit_store import SCHEME, SQLiteStorage
from codexproxy.access.slots import too_many_answers
from codexproxy.errors import RateLimited, local_time
from codexproxy.protocol.quota import QuotaWindow, Tell

# The identifier under which requests of all keys are counted; no key can have it, since names are not empty.
EVERYBODY = ""


@dataclass(frozen=True, slots=True)
class LimitWindow:
    """How one limit stands.

    Attributes:
        limit: What it allows.
        remaining: What is left.
        reset: Seconds until more is.
    """

    limit: int
    remaining: int
    reset: float


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """How a caller's limits stand; None where there is no limit."""

    requests: LimitWindow | None = None
    tokens: LimitWindow | None = None

    def headers(self) -> dict[str, str]:
        """The ``x-ratelimit-*`` headers, in the form of the OpenAI API."""
        found: dict[str, str] = {}
        for name, window in (("requests", self.requests), ("tokens", self.tokens)):
            if window is not None:
                found[f"x-ratelimit-limit-{name}"] = str(window.limit)
                found[f"x-ratelimit-remaining-{name}"] = str(window.remaining)
                found[f"x-ratelimit-reset-{name}"] = duration(window.reset)
        return found


def open_storage(uri: str) -> Storage:
    """The storage a URI names: ``memory://`` or ``codexproxy+sqlite:///path``.

    Raises:
        ConfigurationError: The scheme is unknown, or its library is not installed.
    """
    storage = SQLiteStorage(uri) if uri.startswith(f"{SCHEME}:") else storage_from_string(uri)
    if not isinstance(storage, Storage):
        raise TypeError(f"The storage {uri.partition(':')[0]} cannot be used here; choose one that is not async.")
    return storage


class _PerMinute(RateLimitItemPerMinute):
    """Requests in any minute, counted under the same name whatever the limit is at the moment.

    The library puts the limit into the name, so that whoever is given another limit would start anew.
    """

    def key_for(self, *identifiers: str | bytes | float) -> str:
        """Where the requests of somebody are counted."""
        return "/".join([self.namespace, *map(str, identifiers), "minute"])


class _PerDay(RateLimitItemPerDay):
    """Tokens of a day, counted as ``_PerMinute`` counts requests."""

    def key_for(self, *identifiers: str | bytes | float) -> str:
        """Where the tokens of somebody are counted."""
        return "/".join([self.namespace, *map(str, identifiers), "day"])


class Limiter:
    """Counts what keys use, and refuses what goes beyond.

    Args:
        rates: Where requests are counted; shared by all workers, or of one worker only.
        tokens: Where tokens are counted; should outlive a restart.
        per_minute: Requests per minute of all keys together.
        clock: Epoch seconds, the same as the storages'.
    """

    def __init__(
        self,
        rates: Storage,
        tokens: Storage,
        *,
        per_minute: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rates = MovingWindowRateLimiter(rates)
        self._tokens = FixedWindowRateLimiter(tokens)
        self._per_minute = per_minute
        self._clock = clock

    def admit(self, identity: Identity, count: int = 1) -> RateLimitStatus:
        """Counts the turns of one request; one that is refused is not counted.

        Args:
            identity: Who asks.
            count: Turns of the request; most have one.

        Raises:
            InvalidRequest: No minute has room for so many turns.
            RateLimited: A limit is reached; ``retry_after`` says when it is not any more.
        """
        self._check_tokens(identity)
        own = self._own_rate(identity)
        every = _PerMinute(self._per_minute) if self._per_minute else None
        for limit, name in ((own, identity.name), (every, EVERYBODY)):
            if limit and count > limit.amount:
                raise too_many_answers(count, limit.amount, _whose(name), "per minute")
        # The key's own limit is looked at first, so that its refused requests use up nobody else's.
        if own and not self._rates.test(own, identity.owner, cost=count):
            raise self._too_many(own, identity.owner, identity.name)
        if every and not self._rates.hit(every, EVERYBODY, cost=count):
            raise self._too_many(every, EVERYBODY, EVERYBODY)
        if own and not self._rates.hit(own, identity.owner, cost=count):
            raise self._too_many(own, identity.owner, identity.name)
        return self.status(identity)

    def spend(self, identity: Identity, tokens: int) -> None:
        """Counts the tokens of a finished turn, in and out."""
        if identity.limits.tokens_per_day and tokens > 0:
            item = _PerDay(identity.limits.tokens_per_day)
            self._tokens.hit(item, identity.owner, self._day(), cost=tokens)

    def status(self, identity: Identity) -> RateLimitStatus:
        """How the caller's limits stand; of two limits the tighter one."""
        windows = []
        own = self._own_rate(identity)
        if own:
            windows.append(self._window(own, identity.owner))
        if self._per_minute:
            windows.append(self._window(_PerMinute(self._per_minute), EVERYBODY))
        requests = min(windows, key=lambda window: (window.remaining, window.limit), default=None)
        return RateLimitStatus(requests, self._token_window(identity))

    def _own_rate(self, identity: Identity) -> RateLimitItem | None:
        allowed = identity.limits.rate_per_minute
        return _PerMinute(allowed) if allowed else None

    def _window(self, item: RateLimitItem, owner: str) -> LimitWindow:
        stats = self._rates.get_window_stats(item, owner)
        used_any = stats.remaining < item.amount
        return LimitWindow(item.amount, max(0, stats.remaining), max(0.0, stats.reset_time - self._clock()) * used_any)

    def _too_many(self, item: RateLimitItem, owner: str, name: str) -> RateLimited:
        seconds = max(1, math.ceil(self._window(item, owner).reset))
        return RateLimited(
            f"{_whose(name)} has reached its limit of {item.amount} requests per minute. "
            f"Please try again in {seconds} s.",
            retry_after=seconds,
        )

    def _check_tokens(self, identity: Identity) -> None:
        window = self._token_window(identity)
        if window is not None and window.remaining == 0:
            raise RateLimited(
                f"The key '{identity.name}' has used its {window.limit} tokens of the day. "
                f"It starts again at 00:00 UTC, in {duration(window.reset)}.",
                code="insufficient_quota",
                retry_after=math.ceil(window.reset),
            )

    def _token_window(self, identity: Identity) -> LimitWindow | None:
        allowed = identity.limits.tokens_per_day
        if not allowed:
            return None
        stats = self._tokens.get_window_stats(_PerDay(allowed), identity.owner, self._day())
        return LimitWindow(allowed, stats.remaining, self._seconds_left_today())

    def _day(self) -> str:
        return self._now().date().isoformat()

    def _seconds_left_today(self) -> float:
        now = self._now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        return (midnight - now).total_seconds()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _whose(name: str) -> str:
    return f"The key '{name}'" if name else "This service"


def duration(seconds: float) -> str:
    """A time span as the OpenAI API writes it: ``6m0s``, ``1.5s``, ``20ms``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{math.ceil(seconds * 10) / 10:g}s"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"


def check_reserve(identity: Identity, window: QuotaWindow | None, now: float, tell: Tell = local_time) -> None:
    """Refuses a turn that would eat into the reserve; a quota that is not known refuses nothing.

    Args:
        identity: Who asks.
        window: The long window of the account with most left.
        now: Epoch seconds.
        tell: Writes a moment.

    Raises:
        RateLimited: ``insufficient_quota``.
    """
    reserve = identity.limits.reserve_weekly_percent
    if not reserve or window is None:
        return
    used = window.used_now(now)
    if used < 100 - reserve:
        return
    left = window.resets_at - now if window.resets_at is not None else None
    when = f" It starts again at {tell(window.resets_at)}." if window.resets_at is not None else ""
    raise RateLimited(
        f"The {window.label} quota is {used:g} % used, and the key '{identity.name}' must leave {reserve:g} % of it."
        f"{when}",
        code="insufficient_quota",
        retry_after=math.ceil(left) if left is not None else None,
    )
