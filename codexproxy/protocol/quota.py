"""An account's quota: how much of each window is used, and how that will go on.

Windows differ per plan (docs/reference/quota.md#the-usage-report), so their lengths are always read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from codexproxy.errors import local_time

_NAMED_SPANS = {3600: "hourly", 86_400: "daily", 604_800: "weekly", 2_592_000: "monthly"}
# A window counts as the long one, for which a part may be reserved, from two days on.
LONG = 2 * 86_400

# A moment as its reader writes it.
Tell = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Forecast:
    """How a window ends if use goes on at the pace so far.

    Attributes:
        percent_at_reset: Used then, in percent; more than 100 means that it will not last.
        runs_out_at: When it is used up, in epoch seconds; None when it lasts.
    """

    percent_at_reset: float
    runs_out_at: float | None


@dataclass(frozen=True, slots=True)
class QuotaWindow:
    """One limit of an account.

    Attributes:
        name: Upstream's name, ``primary`` or ``secondary``.
        used_percent: How much of it is used.
        seconds: Its length; None when upstream did not say.
        resets_at: When it starts again, in epoch seconds; None when upstream did not say.
    """

    name: str
    used_percent: float
    seconds: int | None = None
    resets_at: float | None = None

    @property
    def label(self) -> str:
        """Its name for people: ``5-hour``, ``weekly``."""
        if not self.seconds:
            return self.name
        for span, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
            if self.seconds % span == 0:
                return _NAMED_SPANS.get(self.seconds) or f"{self.seconds // span}-{unit}"
        return f"{self.seconds}-second"

    def used_now(self, now: float) -> float:
        """Percent used at this moment; nothing once the window has started again."""
        return 0.0 if self.resets_at is not None and self.resets_at <= now else self.used_percent

    def forecast(self, now: float) -> Forecast | None:
        """How it will end; None while too little is known or hardly any time has passed."""
        if not self.seconds or self.resets_at is None or self.resets_at <= now:
            return None
        elapsed = self.seconds - (self.resets_at - now)
        if elapsed < self.seconds / 100:
            return None
        pace = self.used_percent / elapsed
        at_reset = pace * self.seconds
        runs_out = now + (100 - self.used_percent) / pace if at_reset > 100 else None
        return Forecast(round(at_reset, 1), runs_out)

    def as_dict(self, now: float, tell: Tell = local_time) -> dict[str, Any]:
        """The window for people and programs."""
        forecast = self.forecast(now)
        return {
            "name": self.name,
            "label": self.label,
            "used_percent": self.used_now(now),
            "window_seconds": self.seconds,
            "resets_at": self.resets_at,
            "resets_at_local": tell(self.resets_at) if self.resets_at is not None else None,
            "forecast_percent_at_reset": forecast.percent_at_reset if forecast else None,
            "forecast_runs_out_at": forecast.runs_out_at if forecast else None,
        }


@dataclass(frozen=True, slots=True)
class Quota:
    """What is known of an account's limits.

    Attributes:
        windows: Its windows.
        plan: Its plan, where upstream said.
        seen_at: When it was told, in epoch seconds.
    """

    windows: tuple[QuotaWindow, ...] = ()
    plan: str | None = None
    seen_at: float = 0.0

    def long_window(self) -> QuotaWindow | None:
        """The longest window, the week on most plans; None when there are only short ones."""
        long = [window for window in self.windows if (window.seconds or 0) >= LONG]
        return max(long, key=lambda window: window.seconds or 0, default=None)

    def reached(self, now: float, resets_at: float | None = None) -> QuotaWindow | None:
        """The window that a usage limit is about: the one that resets then, else the fullest."""
        fullest = max(self.windows, key=lambda window: window.used_now(now), default=None)
        return self.ending(resets_at) or fullest

    def ending(self, resets_at: float | None) -> QuotaWindow | None:
        """The window that resets at a moment, give or take a minute; None when there is none."""
        if resets_at is None:
            return None
        known = [window for window in self.windows if window.resets_at is not None]
        return next((window for window in known if abs((window.resets_at or 0) - resets_at) <= 60), None)

    def as_dict(self, now: float, tell: Tell = local_time) -> dict[str, Any]:
        """The quota for people and programs."""
        windows = [window.as_dict(now, tell) for window in self.windows]
        return {"plan": self.plan, "seen_at": self.seen_at, "windows": windows}


def limit_text(
    quota: Quota | None, resets_at: float | None, now: float, tell: Tell = local_time, *, fresh: bool = True
) -> str:
    """What a caller is told whose turn met a usage limit: window, percent, time.

    Args:
        quota: What is known of the account.
        resets_at: When upstream says the limit ends, in epoch seconds.
        now: Epoch seconds.
        tell: Writes a moment.
        fresh: Whether upstream told this quota with the refusal. What it told earlier
            may name the window that ends then, but no percentage.
    """
    window = None
    if quota is not None:
        window = quota.reached(now, resets_at) if fresh else quota.ending(resets_at)
    moment = resets_at if resets_at is not None else window.resets_at if window else None
    label = f"{window.label} " if window else ""
    used = f" ({window.used_percent:g} % used)" if window and fresh else ""
    when = f" It resets at {tell(moment)}, in {span(moment - now)}." if moment is not None else ""
    return f"The {label}usage limit of the account is reached{used}.{when} 'codexproxy usage' shows all windows."


def span(seconds: float) -> str:
    """A time span for people: ``2 h 30 min``, ``3 d 4 h``."""
    minutes = max(0, round(seconds / 60))
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
