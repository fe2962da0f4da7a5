"""What is counted and written down of every turn."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from prometheus_client.core import Metric

from codexproxy.access.rate_limits import Limiter
from codexproxy.access.slots import Slots
from codexproxy.data_dir import DataDir
from codexproxy.gunicorn.janitor import Sweeper
from codexproxy.observability.metrics import FOLDER, Metrics, queue_gauges, quota_gauges
from codexproxy.observability.metrics_compaction import Counted
from codexproxy.server.request_body.fairness import let_others_run
from codexproxy.server.running_turn import TurnObserver
from codexproxy.server.settlement import Settlement
from codexproxy.settings import Settings
from codexproxy.storage.files.locks import Leadership
from codexproxy.storage.sqlite.ledger import Ledger
from codexproxy.storage.turn_journal import Journal, Slot
from codexproxy.storage.write_behind import WriteBehind
from codexproxy.upstream.provider import Provider
from codexproxy.upstream.quota_store import QuotaBook

# Where the network's proxies stand, possibly with a password.
_PROXIES = tuple(spelt for name in ("http_proxy", "https_proxy", "all_proxy") for spelt in (name, name.upper()))


def make_metrics(environ: Mapping[str, str]) -> Metrics:
    """The metrics of this worker."""
    return Metrics(environ.get(FOLDER) or None)


def make_sweepers(environ: Mapping[str, str]) -> list[Sweeper]:
    """What folds the metrics of workers that have ended; nothing where a process counts by itself."""
    folder = environ.get(FOLDER)
    if not folder:
        return []
    return [Sweeper("metrics", Counted(Path(folder)), Leadership(Path(folder) / "leader"))]


def make_settlement(settings: Settings, metrics: Metrics, limiter: Limiter) -> Sweeper:
    """What accounts for the turns of killed workers, in whichever process comes first."""
    files = DataDir(settings.data_dir)
    settlement = Settlement(files.journal, Ledger(files.ledger), limiter, metrics)
    return Sweeper("turns of killed workers", settlement)


def make_observer(
    settings: Settings,
    metrics: Metrics,
    quotas: QuotaBook,
    providers: Sequence[Provider],
    slots: Slots | None,
) -> TurnObserver:
    """Metrics and ledger, joined."""
    files = DataDir(settings.data_dir)
    ledger, journal = Ledger(files.ledger), Journal(files.journal, let_others_run)

    def write(turns: Sequence[Slot]) -> None:
        ledger.add(turn.row for turn in turns)
        for turn in turns:
            journal.free(turn)

    gauges = [_quotas(quotas, providers)]
    if slots is not None:
        gauges.append(lambda: queue_gauges(slots.waiting(), slots.busy()))
    return TurnObserver(metrics, WriteBehind(write, "rows of the request ledger"), gauges, journal)


def _quotas(quotas: QuotaBook, providers: Sequence[Provider]) -> Callable[[], Iterable[Metric]]:
    def gauges() -> Iterable[Metric]:
        return quota_gauges({provider.name: quotas.of(provider.name) for provider in providers}, time.time())

    return gauges


def secrets_of(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """Every text known at the start that no log line may show: keys, and passwords within URLs."""
    names = [provider.api_key_env for provider in settings.providers if provider.api_key_env]
    keys = [settings.api_key, *(environ.get(name) for name in names)]
    links = [settings.limits_storage, *(environ.get(name) for name in _PROXIES)]
    return [key for key in (*keys, *map(_password, links)) if key]


def _password(link: str | None) -> str | None:
    try:
        return urlsplit(link or "").password
    except ValueError:  # It is no URL, so whoever reads it next will refuse it.
        return None
