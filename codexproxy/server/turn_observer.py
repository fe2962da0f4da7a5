"""Who is told of every turn, and what that Prometheus reads."""

from collections.abc import Callable, Iterable
from typing import Protocol

from prometheus_client.core import Metric

from codexproxy import __version__
from codexproxy.errors import ProxyError
from codexproxy.observability.metrics import Metrics, build_info
from codexproxy.storage.sqlite.ledger import TurnRecord
from codexproxy.storage.turn_journal import Account, Journal, Slot

Gauges = Callable[[], Iterable[Metric]]


class AnswerVisitor(Protocol):
    """Where rows go; nothing about it may wait or raise."""

    def add(self, turn: Slot) -> None:
        """Takes the row of a turn; whoever has written it down frees the slot."""

    def close(self) -> None:
        """Writes what waits."""


class TurnObserver:
    """Told of every turn of this worker.

    Args:
        metrics: Counts.
        ledger: Takes a row per turn.
        gauges: What is true at the moment somebody asks.
        journal: Outlives this worker, should it be killed.
    """

    def __init__(
        self,
        metrics: Metrics,
        ledger: AnswerVisitor | None = None,
        gauges: Iterable[Gauges] = (),
        journal: Journal | None = None,
    ) -> None:
        self.metrics = metrics
        self.journal = journal
        self._ledger = ledger
        self._gauges = list(gauges)

    def stream_began(self) -> None:
        """A stream is being answered."""
        self.metrics.stream_began()

    def stream_ended(self) -> None:
        """It is over."""
        self.metrics.stream_ended()

    def turn_ended(self, record: TurnRecord, error: ProxyError | None, slot: Slot | None = None) -> None:
        """A turn is over, one way or the other."""
        ended = self.journal.end(slot, record) if self.journal is not None else Slot(record, Account())
        if self._ledger is not None:
            self._ledger.add(ended)
        self.metrics.turn_ended(record, error)

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        current = [build_info(__version__)]
        for gauges in self._gauges:
            current += gauges()
        return self.metrics.page(current)

    def close(self) -> None:
        """Writes what waits, before the worker ends."""
        if self._ledger is not None:
            self._ledger.close()
        if self.journal is not None:
            self.journal.close()
