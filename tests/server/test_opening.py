"""Streams that are opened for somebody who leaves are closed, whenever that happens."""

from collections.abc import Callable

import gevent
import pytest
from gevent.event import Event as Signal

from codexproxy.protocol.request import Turn
from codexproxy.protocol.stream import EventStream
from codexproxy.server.upstream_call import UpstreamCall
from tests.fakes.backends import ScriptedSource, answer
from tests.patience import patient

TURN = Turn("gpt-5.2", {"model": "gpt-5.2", "input": []})


class Upstream:
    """Opens a stream when it is told to."""

    def __init__(self) -> None:
        self.source = ScriptedSource(answer())
        self.answers = Signal()
        self.places = 1

    def open(self, turn: Turn) -> EventStream:
        self.places -= 1
        try:
            self.answers.wait()
        except BaseException:
            self.places += 1
            raise
        stream = EventStream(self.source)
        stream.on_close(self.free)
        return stream

    def free(self) -> None:
        self.places += 1


def before(upstream: Upstream, call: UpstreamCall) -> None:
    call.close()


def just_when(upstream: Upstream, call: UpstreamCall) -> None:
    # The greenlet that opens has been woken already, so it goes on before it can be told to stop.
    upstream.answers.set()
    call.close()


def after(upstream: Upstream, call: UpstreamCall) -> None:
    upstream.answers.set()
    assert call.wait(patient(5))
    call.close()


@pytest.mark.parametrize("leaves", [before, just_when, after])
def test_nothing_stays_open_whether_upstream_answers_before_or_after_the_client_left(
    leaves: Callable[[Upstream, UpstreamCall], None],
) -> None:
    upstream = Upstream()
    call = UpstreamCall(upstream.open, [TURN], list)
    gevent.sleep(0)
    assert upstream.places == 0
    leaves(upstream, call)
    gevent.sleep(0.01)
    assert upstream.places == 1
    assert upstream.source.is_closed or leaves is before
