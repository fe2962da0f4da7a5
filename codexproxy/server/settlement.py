"""The turns of killed workers: charged, written into the ledger and counted, each once."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from codexproxy.access.authorization import Identity, KeyLimits
from codexproxy.access.rate_limits import Limiter
from codexproxy.errors import ProxyError
from codexproxy.observability.metrics import Metrics
from codexproxy.server.request_body.fairness import in_thread, let_others_run
from codexproxy.storage.sqlite.ledger import Ledger, TurnRecord
from codexproxy.storage.turn_journal import RUNNING, Leftover, Slot, leftovers

_KILLED = ProxyError("The worker was killed while it ran this turn. Please ask again.", code="worker_killed")

log = logging.getLogger(__name__)


class Settlement:
    """Settles what killed workers left; any process may, as often as it likes.

    Args:
        folder: Holds the workers' journals.
        ledger: Takes the rows; used by nobody else.
        limiter: Counts the tokens.
        metrics: Counts the turns.
    """

    def __init__(self, folder: Path, ledger: Ledger, limiter: Limiter, metrics: Metrics) -> None:
        self._folder = folder
        self._ledger = ledger
        self._limiter = limiter
        self._metrics = metrics

    def sweep(self) -> None:
        """Settles every worker that is gone; what cannot be written stays for the next time.

        Raises:
            DatabaseFailed: The ledger cannot be used.
        """
        for left in leftovers(self._folder, let_others_run):
            self._settle(left)

    def _settle(self, left: Leftover) -> None:
        for slot in left.slots:
            if not slot.charged:
                self._charge(slot)
                left.charged(slot)
            let_others_run()
        rows = [_closed(slot) for slot in left.slots]
        if rows:
            failure = in_thread(lambda: self._written(rows))
            if failure is not None:
                raise failure
            log.warning("a worker was killed; %d of its turns were charged and written down by now", len(rows))
        # Those that had ended were counted by their worker.
        for slot, row in zip(left.slots, rows, strict=True):
            if slot.state == RUNNING:
                self._metrics.turn_ended(row, _KILLED)
        left.remove()

    def _charge(self, slot: Slot) -> None:
        limits = KeyLimits(tokens_per_day=slot.account.tokens_per_day)
        identity = Identity(slot.row.key, id=slot.account.owner, limits=limits)
        self._limiter.spend(identity, slot.row.input_tokens + slot.row.output_tokens)

    def _written(self, rows: Sequence[TurnRecord]) -> ProxyError | None:
        # Returned, since the pool prints what is raised in its threads.
        try:
            self._ledger.add_missing(rows)
        except ProxyError as failure:
            return failure
        return None


def _closed(slot: Slot) -> TurnRecord:
    if slot.state != RUNNING:
        return slot.row
    return replace(slot.row, status=slot.row.status or _KILLED.status, code=str(_KILLED.code))
