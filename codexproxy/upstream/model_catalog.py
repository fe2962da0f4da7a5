"""The live catalogue, fetched when first needed and kept fresh in the background."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from codexproxy.errors import ProxyError
from codexproxy.planning.model_catalog import ModelCatalog

# Seconds before a failed fetch is tried again.
RETRY_AFTER = 30.0

# Seconds within which a refusal must have come for the next caller to wait for the next answer.
QUICK = 2.0

log = logging.getLogger(__name__)


class LiveCatalogue:
    """Upstream's catalogue with the fallback table behind it.

    The first caller waits for the first fetch, since efforts, defaults and the
    shape of a request depend on it; later fetches happen behind everybody's back,
    and so do those after one that was waited for in vain.

    Args:
        fetch: Gets upstream's rows; raises ProxyError when it cannot.
        aliases: Further names -> names.
        refresh_seconds: Age at which the catalogue is fetched anew.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        fetch: Callable[[], list[dict[str, Any]]],
        *,
        aliases: Mapping[str, str] | None = None,
        refresh_seconds: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._aliases = dict(aliases or {})
        self._refresh_seconds = refresh_seconds
        self._clock = clock
        self._catalogue = ModelCatalog(None, self._aliases)
        self._due = float("-inf")
        self._is_worth_waiting_for = True
        self._lock = threading.Lock()

    def current(self) -> ModelCatalog:
        """The catalogue of this moment; never raises."""
        if self._clock() < self._due:
            return self._catalogue
        if not self._is_worth_waiting_for:
            self._refresh_behind()
        else:
            with self._lock:
                self._refresh_if_due()
        return self._catalogue

    def warm(self) -> None:
        """Starts the first fetch without waiting for it."""
        threading.Thread(target=self.current, name="catalogue", daemon=True).start()

    def _refresh_behind(self) -> None:
        if self._lock.acquire(blocking=False):
            threading.Thread(target=self._refresh_and_release, name="catalogue", daemon=True).start()

    def _refresh_and_release(self) -> None:
        try:
            self._refresh_if_due()
        finally:
            self._lock.release()

    def _refresh_if_due(self) -> None:
        if self._clock() < self._due:
            return
        began = self._clock()
        try:
            self._catalogue = ModelCatalog(self._fetch(), self._aliases)
            self._due = self._clock() + self._refresh_seconds
            self._is_worth_waiting_for = False
        except ProxyError as error:
            self._due = self._clock() + min(RETRY_AFTER, self._refresh_seconds)
            self._is_worth_waiting_for = not self._catalogue.is_live and self._clock() - began < QUICK
            log.info("the live catalogue cannot be fetched; the last known one stays in use: %s", error.message)
