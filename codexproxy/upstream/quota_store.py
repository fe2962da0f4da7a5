"""What is known of every provider's quota, shared by all processes of the host."""

import json
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from codexproxy.errors import ProxyError
from codexproxy.protocol.quota import Quota, QuotaWindow, limit_text
from codexproxy.storage.sqlite.database import BRIEFLY, Database
from codexproxy.upstream.router.circuit import renewed
from codexproxy.upstream.router.retry_policy import seconds_until_reset

log = logging.getLogger(__name__)

_SCHEMA = ("CREATE TABLE quotas (provider TEXT PRIMARY KEY, quota TEXT NOT NULL) WITHOUT ROWID",)
_NOTE = "INSERT OR REPLACE INTO quotas VALUES (?, ?)"

# Seconds after which an unchanged quota is written again, so that others see how fresh it is.
REFRESH = 60.0


class QuotaBook:
    """The last quota of each provider.

    While the file cannot be used, each process knows what it heard itself.

    Args:
        path: The database file.
        clock: Epoch seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._database = Database(path, _SCHEMA, timeout=BRIEFLY)
        self._clock = clock
        self._heard: dict[str, Quota] = {}

    def note(self, provider: str, quota: Quota | None) -> None:
        """Takes what upstream just said; None is nothing."""
        if quota is None:
            return
        before = self._heard.get(provider)
        self._heard[provider] = quota
        if before and before.windows == quota.windows and quota.seen_at - before.seen_at < REFRESH:
            self._heard[provider] = before
            return
        try:
            with self._database.transaction() as connection:
                connection.execute(_NOTE, (provider, _encode(quota)))
        except ProxyError as error:
            log.warning("a quota could not be saved for other processes: %s", error.message)

    def of(self, provider: str) -> Quota | None:
        """The freshest quota that any process heard."""
        own = self._heard.get(provider)
        if not self._database.path.exists():
            return own
        try:
            rows = self._database.rows("SELECT quota FROM quotas WHERE provider = ?", (provider,))
        except ProxyError as error:
            log.warning("quotas seen by other processes cannot be read: %s", error.message)
            return own
        shared = _decode(rows[0][0]) if rows else None
        found = [quota for quota in (own, shared) if quota is not None]
        return max(found, key=lambda quota: quota.seen_at, default=None)

    def least_used(self, providers: Iterable[str]) -> QuotaWindow | None:
        """The long window of the provider that has most of it left; None when one of them is not known.

        Args:
            providers: Those a turn may go to.
        """
        now, windows = self._clock(), []
        for provider in providers:
            quota = self.of(provider)
            window = quota.long_window() if quota else None
            if window is None:
                return None
            windows.append(window)
        return min(windows, key=lambda window: window.used_now(now), default=None)

    def explain(self, provider: str, error: ProxyError) -> ProxyError:
        """A usage limit told with its window, percent and time; any other failure as it is."""
        if error.code != "usage_limit_reached":
            return error
        now = self._clock()
        left = seconds_until_reset(error, now)
        moment = now + left if left is not None else None
        text = limit_text(self.of(provider), moment, now, fresh=error.quota_told)
        return renewed(error, left or 0.0, text)

    def close(self) -> None:
        """Closes the file."""
        self._database.close()


def _encode(quota: Quota) -> str:
    windows = [[window.name, window.used_percent, window.seconds, window.resets_at] for window in quota.windows]
    return json.dumps([windows, quota.plan, quota.seen_at])


def _decode(text: str) -> Quota | None:
    try:
        windows, plan, seen_at = json.loads(text)
        return Quota(tuple(QuotaWindow(*window) for window in windows), plan, seen_at)
    except (ValueError, TypeError):
        # Written by another version of this program; the next answer replaces it.
        return None
