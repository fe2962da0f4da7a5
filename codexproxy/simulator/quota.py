"""The account's usage windows, as headers, as JSON and as an event.

See docs/reference/quota.md#response-headers and docs/reference/quota.md#the-usage-report.
"""

from dataclasses import asdict, dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(slots=True)
class Quota:
    """How much is used, in percent; ``None`` means the window does not exist.

    The reset times are seconds from now.
    """

    primary_used: float | None = 12
    secondary_used: float | None = 7
    primary_window: int = 5 * 3600
    secondary_window: int = 7 * 24 * 3600
    primary_reset_after: int = 7200
    secondary_reset_after: int = 400000
    limit_reached: bool = False
    has_credits: bool = False
    balance: str = "0"

    def update(self, changes: Json) -> None:
        """Changes some fields.

        Raises:
            ValueError: A name is not a field.
        """
        for name, value in changes.items():
            if name not in asdict(self):
                raise ValueError(f"quota has no field {name!r}")
            setattr(self, name, value)

    def _windows(self) -> list[tuple[str, float, int, int]]:
        rows = [
            ("primary", self.primary_used, self.primary_window, self.primary_reset_after),
            ("secondary", self.secondary_used, self.secondary_window, self.secondary_reset_after),
        ]
        return [(name, used, window, reset) for name, used, window, reset in rows if used is not None]

    def headers(self, now: float, retired: bool = False) -> dict[str, str]:
        """The ``x-codex-*`` headers; ``retired`` writes relative reset times, as older answers did."""
        fields: dict[str, str] = {"x-codex-active-limit": "codex"}
        for name, used, window, reset in self._windows():
            fields[f"x-codex-{name}-used-percent"] = f"{used:g}"
            fields[f"x-codex-{name}-window-minutes"] = str(window // 60)
            if retired:
                fields[f"x-codex-{name}-reset-after-seconds"] = str(reset)
            else:
                fields[f"x-codex-{name}-reset-at"] = str(int(now) + reset)
        fields["x-codex-credits-has-credits"] = str(self.has_credits).lower()
        fields["x-codex-credits-unlimited"] = "false"
        fields["x-codex-credits-balance"] = self.balance if self.has_credits else '""'
        return fields

    def as_event(self, plan: str, now: float) -> Json:
        """Fields of the ``codex.rate_limits`` event."""
        limits: Json = {"allowed": not self.limit_reached, "limit_reached": self.limit_reached}
        for name, used, window, reset in self._windows():
            times = {"reset_after_seconds": reset, "reset_at": int(now) + reset}
            limits[name] = {"used_percent": used, "window_minutes": window // 60, **times}
        return {"plan_type": plan, "rate_limits": limits}

    def as_usage(self, plan: str, now: float, windows: bool = True) -> Json:
        """The answer of ``/wham/usage``."""
        limit: Json = {"allowed": not self.limit_reached, "limit_reached": self.limit_reached}
        limit |= {"primary_window": None, "secondary_window": None}
        for name, used, window, reset in self._windows() if windows else []:
            times = {"reset_after_seconds": reset, "reset_at": int(now) + reset}
            limit[f"{name}_window"] = {"used_percent": used, "limit_window_seconds": window, **times}
        reached = {"type": "rate_limit_reached"} if self.limit_reached else None
        return {
            "plan_type": plan,
            "rate_limit": limit,
            "code_review_rate_limit": None,
            "additional_rate_limits": None,
            "credits": {"has_credits": self.has_credits, "unlimited": False, "balance": self.balance},
            "rate_limit_reached_type": reached,
        }
