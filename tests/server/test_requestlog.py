"""What a request held is freed at its end, whatever happens meanwhile; what nobody needs any more, before."""

import gevent
import pytest
from flask import Response

from codexproxy.access.authorization import Identity
from codexproxy.gunicorn.disconnects import ClientGone
from codexproxy.gunicorn.inflight import Underway
from codexproxy.observability.metrics import Metrics
from codexproxy.protocol.request import Caller, StorageOptions, Turn
from codexproxy.server.request_context import RequestContext
from codexproxy.server.running_turn import TurnObserver
from codexproxy.storage.sqlite.ledger import TurnRecord
from codexproxy.storage.turn_journal import Slot


class Rows:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.rows: list[TurnRecord] = []

    def add(self, turn: Slot) -> None:
        self.rows.append(turn.row)

    def close(self) -> None:
        """Nothing waits."""


def test_all_is_freed_though_the_client_leaves_in_the_middle_of_it() -> None:
    rows, underway, freed = Rows(), Underway(), list[str]()
    request = RequestContext("id", TurnObserver(Metrics(), rows))
    request.identity = Identity("ann")
    turn = request.begin_turn("chat")

    def leave() -> None:
        freed.append("stream")
        raise ClientGone

    request.exits.callback(underway.enter(request))
    request.stop_watching = lambda: freed.append("watch")
    turn.exits.callback(lambda: freed.append("place"))
    turn.exits.callback(leave)
    with pytest.raises(gevent.GreenletExit):
        request.finish()
    assert freed == ["watch", "stream", "place"]
    assert len(underway) == 0
    assert [row.dialect for row in rows.rows] == ["chat"]
    request.finish()
    assert len(rows.rows) == 1


def test_a_stream_lets_its_conversation_go_and_still_tells_what_it_was() -> None:
    rows = Rows()
    request = RequestContext("id", TurnObserver(Metrics(), rows))
    request.identity = Identity("ann")
    turn = request.begin_turn("chat")
    body = {"model": "gpt-5.2", "reasoning": {"effort": "high"}, "instructions": "Count.", "input": ["long"] * 100}
    turn.planned = Turn(
        "fast", body, caller=Caller(client="cursor"), storage=StorageOptions(own_input=body["input"]), adapted=("a",)
    )
    response = Response(iter([b"x"]))
    request.follow(response)
    assert turn.planned.body == {"model": "gpt-5.2", "reasoning": {"effort": "high"}}
    assert turn.planned.storage == StorageOptions()
    response.close()
    assert [(row.client, row.model, row.effort, row.adapted) for row in rows.rows] == [
        ("cursor", "gpt-5.2", "high", "a")
    ]
