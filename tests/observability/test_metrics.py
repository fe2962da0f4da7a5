"""Counting costs nothing but numbers when it goes wrong."""

import logging

import pytest

from codexproxy.observability.metrics import Metrics
from codexproxy.storage.sqlite.ledger import TurnRecord

RECORD = TurnRecord(0.0, "ann", "", "chat", "gpt-5.2", "", "default", 200, "", 1, 0, 1, 0, 5, 9, "")


class FullDisk:
    """A metric whose file cannot be made."""

    def labels(self, *labels: str) -> "FullDisk":
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("count", ["turn_ended", "queued", "refreshed"])
def test_a_disk_that_takes_no_numbers_costs_only_those(count: str, caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    metrics.turns = metrics.queue_wait = metrics.refreshes = FullDisk()  # type: ignore[assignment]
    calls = {
        "turn_ended": lambda: metrics.turn_ended(RECORD, None),
        "queued": lambda: metrics.queued(0.1, True),
        "refreshed": lambda: metrics.refreshed(True),
    }
    with caplog.at_level(logging.WARNING):
        calls[count]()
    assert "No space left" in caplog.text
