"""What a request held is freed at its end, whatever happens meanwhile."""

import gevent
import pytest

from codexproxy.observe.metrics import Metrics
from codexproxy.state.ledger import TurnRecord
from codexproxy.web.departures import ClientGone
from codexproxy.web.observation import Observation
from codexproxy.web.requestlog import RequestLog
from codexproxy.web.underway import Underway


class Rows:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.rows: list[TurnRecord] = []

    def add(self, row: TurnRecord) -> None:
        self.rows.append(row)

    def close(self) -> None:
        """Nothing waits."""


def test_all_is_freed_though_the_client_leaves_in_the_middle_of_it() -> None:
    rows, underway, freed = Rows(), Underway(), list[str]()
    request = RequestLog("id", Observation(Metrics(), rows))
    request.dialect = "chat"

    def leave() -> None:
        freed.append("stream")
        raise ClientGone

    request.on_end(underway.enter(request))
    request.on_end(lambda: freed.append("watch"), first=True)
    request.on_end(lambda: freed.append("place"))
    request.on_end(leave)
    with pytest.raises(gevent.GreenletExit):
        request.finish()
    assert freed == ["watch", "stream", "place"]
    assert len(underway) == 0
    assert [row.dialect for row in rows.rows] == ["chat"]
    request.finish()
    assert len(rows.rows) == 1
