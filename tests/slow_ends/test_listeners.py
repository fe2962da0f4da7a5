"""An answer that outlives its request keeps little for a client that does not read, and the client misses nothing."""

import json
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event as Signal

from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.compat.history.continuation import expand_history
from codexproxy.gunicorn.inflight import Underway
from codexproxy.observability.metrics import Metrics
from codexproxy.protocol.events import Batch, Event
from codexproxy.protocol.request import Caller
from codexproxy.protocol.stream import EventStream
from codexproxy.server.running_turn import RunningTurn, Timer, TurnObserver
from codexproxy.server.stored.background import MOST_WAITING, BackgroundRun, Listener
from codexproxy.server.stored.background_writer import BackgroundWriter
from codexproxy.server.stored.response_service import ResponseService
from codexproxy.server.stream_runner import StreamRunner
from codexproxy.server.upstream_call import UpstreamCall
from codexproxy.storage.base import Stored
from codexproxy.storage.sqlite.database import DatabaseFailed
from tests.fakes.responses import MemoryResponseStore

DELTAS, SIZE = 300, 50_000


def event(number: int, type: str, **fields: Any) -> Event:
    return Event.of({"type": type, "sequence_number": number, **fields})


class Model:
    """A stream of many large deltas; counts how many were asked for."""

    def __init__(self) -> None:
        self.given = 0
        self._events = self._script()

    def _script(self) -> Iterator[Event]:
        item = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}
        yield event(0, "response.created", response={"id": "r1", "status": "in_progress", "output": []})
        yield event(1, "response.output_item.added", output_index=0, item={**item, "content": []})
        for number in range(DELTAS):
            place = {"output_index": 0, "item_id": "m", "content_index": 0}
            yield event(number + 2, "response.output_text.delta", **place, delta="x" * SIZE)
        whole = [{**item, "content": [{"type": "output_text", "text": "x", "annotations": []}]}]
        yield event(DELTAS + 2, "response.output_item.done", output_index=0, item=whole[0])
        response = {"id": "r1", "status": "completed", "output": whole, "usage": {"input_tokens": 1}}
        yield event(DELTAS + 3, "response.completed", response=response)

    def read(self, patience: float) -> Batch | None:
        gevent.sleep(0)
        self.given += 1
        found = next(self._events, None)
        return None if found is None else [found]

    def close(self) -> None: ...


class ClosedStore(MemoryResponseStore):
    """A store that takes nothing."""

    def begin(self, stored: Stored) -> None:
        raise DatabaseFailed("the disk is full")


class Made:
    """An answer that is being made from here on."""

    def __init__(self, store: MemoryResponseStore, grace: float | None) -> None:
        api, responses = ResponsesApi(), ResponseService(store)
        turn = expand_history(
            api.parse({"model": "m", "input": "hi", "stream": True}, Caller("ann")), responses.of("ann")
        )
        self.model, self.ended = Model(), Signal()
        self.record = BackgroundWriter(api, turn, responses.of("ann"))
        self.turn = RunningTurn("responses", "ann", "id", Timer(), TurnObserver(Metrics()))
        self.turn.exits.callback(self.ended.set)
        call = UpstreamCall(lambda turn: EventStream(self.model), [turn], self.turn.answered_by)
        self.run = BackgroundRun(call, api.renderers(turn)[0], self.record, self.turn, grace)
        self.run.start(Underway(), logged=False)

    def listen(self) -> Iterator[bytes]:
        """Everything the client reads, from the run and then from the store."""
        listener = Listener(self.run, self.record)
        return StreamRunner(listener, listener, self.turn, 60.0).pieces()


def frames_into(found: list[bytes], frames: Any) -> int | None:
    """Reads the frames of a run to their end, and returns what it returned."""
    while True:
        try:
            found += [frame for _, frame in next(frames)[1]]
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def numbers(pieces: list[bytes]) -> list[int]:
    """The numbers of the events in them."""
    lines = b"".join(pieces).split(b"\n")
    return [json.loads(line[6:])["sequence_number"] for line in lines if line.startswith(b"data: {")]


@pytest.mark.parametrize("grace", [None, 60.0], ids=["in the background", "to be resumed"])
def test_what_waits_for_a_client_that_does_not_read_is_bounded_and_nothing_is_missing(grace: float | None) -> None:
    made = Made(MemoryResponseStore(), grace)
    with gevent.Timeout(20):
        made.ended.wait()
        # All of it was made, with nobody reading.
        first: list[bytes] = []
        last = frames_into(first, made.run.frames(60.0))
        assert sum(map(len, first)) <= MOST_WAITING
        assert last is not None
        reader = made.record.reader(last)
        rest = list(StreamRunner(reader, reader, made.turn, 60.0).pieces())
    assert numbers(first + rest) == list(range(DELTAS + 4))


def test_a_client_that_reads_now_and_then_hears_every_event_once() -> None:
    made = Made(MemoryResponseStore(), 60.0)
    with gevent.Timeout(30):
        found = []
        for piece in made.listen():
            found.append(piece)
            gevent.sleep(0.002)
    assert numbers(found) == list(range(DELTAS + 4))


def test_a_client_that_reads_at_once_is_told_by_the_run_alone() -> None:
    made = Made(MemoryResponseStore(), 60.0)
    found: list[bytes] = []
    with gevent.Timeout(20):
        assert frames_into(found, made.run.frames(60.0)) is None
    assert numbers(found) == list(range(DELTAS + 4))


def test_an_answer_that_cannot_be_kept_is_made_as_fast_as_it_is_read() -> None:
    made = Made(ClosedStore(), 60.0)
    with gevent.Timeout(20):
        while made.model.given * SIZE < MOST_WAITING:
            gevent.sleep(0)
        given = made.model.given
        for _ in range(100):
            gevent.sleep(0)
        assert made.model.given <= given + 3
        assert not made.ended.is_set()
        assert numbers(list(made.listen())) == list(range(DELTAS + 4))


def test_a_client_that_leaves_lets_an_answer_that_cannot_be_kept_go() -> None:
    made = Made(ClosedStore(), 0.0)
    with gevent.Timeout(20):
        while made.model.given * SIZE < MOST_WAITING:
            gevent.sleep(0)
        made.run.detach()
        made.ended.wait()
