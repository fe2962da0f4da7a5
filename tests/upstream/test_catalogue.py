"""The live catalogue: waited for when it is worth it, and never for long twice."""

import threading
import time
from typing import Any

from codexproxy.errors import UpstreamFailed
from codexproxy.upstream.model_catalog import QUICK, RETRY_AFTER, LiveCatalogue
from tests.fakes.clock import Clock
from tests.patience import patient

Rows = list[dict[str, Any]]


class Upstream:
    """Answers after a while, by the test's clock, what the test last said; a failure to begin with."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.seconds = 0.0
        self.rows: Rows = []
        self.gate = threading.Event()
        self.gate.set()

    def fetch(self) -> Rows:
        self.gate.wait(patient(5))
        self.clock.now += self.seconds
        if not self.rows:
            raise UpstreamFailed("no")
        return self.rows


def test_the_first_caller_waits_and_gets_the_live_one() -> None:
    clock = Clock()
    upstream = Upstream(clock)
    upstream.rows = [{"slug": "gpt-9"}]
    assert LiveCatalogue(upstream.fetch, clock=clock).current().is_live


def test_after_a_quick_refusal_the_next_caller_waits_again_in_time() -> None:
    clock = Clock()
    upstream = Upstream(clock)
    catalogue = LiveCatalogue(upstream.fetch, clock=clock)
    assert not catalogue.current().is_live
    upstream.rows = [{"slug": "gpt-9"}]
    assert not catalogue.current().is_live, "not asked again at every request"
    clock.now += RETRY_AFTER
    assert catalogue.current().is_live


def test_after_a_long_wait_in_vain_nobody_waits_again() -> None:
    clock = Clock()
    upstream = Upstream(clock)
    upstream.seconds = QUICK
    catalogue = LiveCatalogue(upstream.fetch, clock=clock)
    assert not catalogue.current().is_live
    upstream.seconds, upstream.rows, upstream.gate = 0.0, [{"slug": "gpt-9"}], threading.Event()
    clock.now += RETRY_AFTER
    assert not catalogue.current().is_live, "an answer that is not there yet was waited for"
    upstream.gate.set()
    deadline = time.monotonic() + patient(5)
    while not catalogue.current().is_live:
        assert time.monotonic() < deadline, "the catalogue was not fetched behind the caller's back"
        time.sleep(0.01)
