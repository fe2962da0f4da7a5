"""What Prometheus may ask for, right for any number of workers.

With several workers each counts into files of its own in one folder, and
whichever is asked adds them up. The library decides at its import, by the
variable ``FOLDER``, whether it does so; the master sets it (see ``gunicorn.master``).
Everything here happens once per turn, nothing once per event but for those that are broken.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from codexproxy.errors import ProxyError
from codexproxy.observability.metrics_compaction import Counted
from codexproxy.protocol.quota import Quota
from codexproxy.storage.sqlite.ledger import TurnRecord

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Upper bounds in seconds.
_FIRST = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120)
_WHOLE = (0.25, 0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320, 640)
_QUEUE = (0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 30, 60)

# Callers may ask for any name; only names that answered get a series, and not without end.
OTHER = "other"
_MOST_MODELS = 50

log = logging.getLogger(__name__)


Counts = TypeVar("Counts", bound=Callable[..., None])


def _harmless(count: Counts) -> Counts:
    """A full disk, on which the library can make no file, costs a number and never the answer or the login."""

    @wraps(count)
    def counted(*arguments: Any, **named: Any) -> None:
        try:
            count(*arguments, **named)
        except (OSError, ValueError) as error:
            log.warning("something was not counted: %s", error)

    return cast(Counts, counted)


class Metrics:
    """The metrics of one worker; to count never raises.

    Args:
        folder: Where all workers count; None for a process by itself.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        self._models: set[str] = set()
        self._known: dict[tuple[Any, tuple[str, ...]], Any] = {}
        self._registry = CollectorRegistry()
        here: dict[str, Any] = {"registry": self._registry}
        self.turns = Counter(
            "codexproxy_turns_total", "Turns that ended.", ["dialect", "model", "backend", "status"], **here
        )
        self.errors = Counter("codexproxy_errors_total", "Turns that failed.", ["type", "code"], **here)
        self.first_event = Histogram(
            "codexproxy_first_event_seconds", "Until the answer began.", ["backend"], buckets=_FIRST, **here
        )
        self.duration = Histogram(
            "codexproxy_turn_seconds", "Until the turn was over.", ["dialect"], buckets=_WHOLE, **here
        )
        self.tokens = Counter(
            "codexproxy_tokens_total",
            "Tokens: input holds cached, output holds reasoning.",
            ["model", "kind"],
            **here,
        )
        self._open_streams = 0
        self._streams: Gauge | None = None
        self._show_streams()
        self.queue_wait = Histogram(
            "codexproxy_queue_seconds", "Waits for a free place.", ["outcome"], buckets=_QUEUE, **here
        )
        self.refreshes = Counter("codexproxy_token_refreshes_total", "Renewals of the login.", ["outcome"], **here)
        self.skipped_events = Counter(
            "codexproxy_skipped_events_total", "Upstream events that are not JSON.", ["backend"], **here
        )

    @_harmless
    def turn_ended(self, record: TurnRecord, error: ProxyError | None) -> None:
        """Counts one turn."""
        model = self._label(record)
        self._series(self.turns, record.dialect, model, record.backend, str(record.status)).inc()
        self._series(self.duration, record.dialect).observe(record.total_ms / 1000)
        if record.first_ms is not None:
            self._series(self.first_event, record.backend).observe(record.first_ms / 1000)
        for kind, count in _tokens(record).items():
            if count:
                self._series(self.tokens, model, kind).inc(count)
        if error is not None:
            self._series(self.errors, error.type, error.code or "").inc()

    @_harmless
    def queued(self, seconds: float, taken: bool) -> None:
        """Counts one wait for a place."""
        self.queue_wait.labels("taken" if taken else "timed_out").observe(seconds)

    @_harmless
    def refreshed(self, succeeded: bool) -> None:
        """Counts one renewal of the login."""
        self.refreshes.labels("succeeded" if succeeded else "failed").inc()

    def stream_began(self) -> None:
        """Counts a stream that is being answered."""
        self._open_streams += 1
        self._show_streams()

    def stream_ended(self) -> None:
        """Counts it no more."""
        self._open_streams -= 1
        self._show_streams()

    @_harmless
    def event_skipped(self, backend: str) -> None:
        """Counts one event of upstream's that was passed over, since it is not JSON."""
        self._series(self.skipped_events, backend).inc()

    def page(self, current: Iterable[Metric]) -> bytes:
        """The metrics of all workers, in the text format.

        Args:
            current: What is true at this moment rather than counted.
        """
        registry = CollectorRegistry() if self._folder else self._registry
        collectors: list[Any] = [_Current(current)]
        if self._folder:
            collectors.append(Counted(Path(self._folder)))
        for collector in collectors:
            registry.register(collector)
        try:
            return generate_latest(registry)
        finally:
            for collector in collectors:
                registry.unregister(collector)

    @_harmless
    def _show_streams(self) -> None:
        # A metric without labels makes its file at once, and a worker has to start on a full disk, too.
        if self._streams is None:
            self._streams = Gauge(
                "codexproxy_open_streams",
                "Streams being answered now.",
                multiprocess_mode="livesum",
                registry=self._registry,
            )
        self._streams.set(self._open_streams)

    def _series(self, metric: Any, *labels: str) -> Any:
        # The library's own look-up takes a lock and longer than the counting.
        found = self._known.get((metric, labels))
        if found is None:
            found = self._known[metric, labels] = metric.labels(*labels)
        return found

    def _label(self, record: TurnRecord) -> str:
        if record.first_ms is not None and len(self._models) < _MOST_MODELS:
            self._models.add(record.model)
        return record.model if record.model in self._models else OTHER


def _tokens(record: TurnRecord) -> dict[str, int]:
    return {
        "input": record.input_tokens,
        "cached": record.cached_tokens,
        "output": record.output_tokens,
        "reasoning": record.reasoning_tokens,
    }


class _Current:
    """A collector of metrics that are at hand."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> list[Metric]:
        """See ``prometheus_client.registry.Collector``."""
        return self._metrics


def build_info(version: str) -> Metric:
    """Which version answers."""
    family = GaugeMetricFamily("codexproxy_build_info", "Always 1.", labels=["version"])
    family.add_metric([version], 1)
    return family


def quota_gauges(quotas: Mapping[str, Quota | None], now: float) -> list[Metric]:
    """The windows of every provider whose quota is known.

    Args:
        quotas: Provider -> its quota.
        now: Epoch seconds.
    """
    used = GaugeMetricFamily("codexproxy_quota_used_percent", "Used of a window.", labels=["provider", "window"])
    resets = GaugeMetricFamily(
        "codexproxy_quota_reset_timestamp_seconds", "When a window begins anew.", labels=["provider", "window"]
    )
    for provider, quota in quotas.items():
        for window in quota.windows if quota else ():
            used.add_metric([provider, window.name], window.used_now(now))
            if window.resets_at is not None:
                resets.add_metric([provider, window.name], window.resets_at)
    return [used, resets]


def queue_gauges(waiting: int, busy: int) -> list[Metric]:
    """The queue for a place, on all workers."""
    return [
        GaugeMetricFamily("codexproxy_queue_waiting", "Turns that wait for a place.", value=waiting),
        GaugeMetricFamily("codexproxy_queue_busy", "Places that are taken.", value=busy),
    ]
