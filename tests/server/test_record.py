"""What the store is told of an answer while it is made."""

from collections.abc import Sequence
from typing import Any

import pytest

from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.compat.history.continuation import expand_history
from codexproxy.errors import UpstreamFailed
from codexproxy.protocol.events import Event
from codexproxy.protocol.request import Caller
from codexproxy.server.stored.background_writer import BackgroundWriter
from codexproxy.server.stored.response_service import ResponseService
from codexproxy.storage.base import Frame, Json, Stored
from codexproxy.storage.sqlite.database import DatabaseFailed
from tests.apis.recorded import decoded
from tests.fakes.responses import MemoryResponseStore


class FailingStore(MemoryResponseStore):
    """A store that can be told to fail."""

    fails = False

    def begin(self, stored: Stored) -> None:
        self._check()
        super().begin(stored)

    def advance(self, owner: str, id: str, frames: Sequence[Frame] = (), response: Json | None = None) -> bool:
        self._check()
        return super().advance(owner, id, frames, response)

    def _check(self) -> None:
        if self.fails:
            raise DatabaseFailed("the disk is full")


@pytest.fixture
def store() -> FailingStore:
    return FailingStore()


@pytest.fixture
def record(store: FailingStore) -> BackgroundWriter:
    api, responses = ResponsesApi(), ResponseService(store)
    turn = api.parse({"model": "m", "input": "hi", "stream": True}, Caller("ann"))
    return BackgroundWriter(api, expand_history(turn, responses.of("ann")), responses.of("ann"))


def told(record: BackgroundWriter, *events: dict[str, Any]) -> list[bytes]:
    made = [Event.of(event) for event in events]
    for event in made:
        record.note(event, event.raw)
    return [event.raw for event in made]


LIMITS = {"type": "codex.rate_limits"}
CREATED = {"type": "response.created", "sequence_number": 0, "response": {"id": "r1", "status": "in_progress"}}
DELTA = {"type": "response.output_text.delta", "sequence_number": 1, "output_index": 0, "delta": "yes"}
DONE = {"type": "response.completed", "sequence_number": 2, "response": {"id": "r1", "status": "completed"}}


def frames(store: FailingStore) -> list[bytes]:
    log = store.log("ann", "r1")
    assert log is not None
    return [frame for _, frame in log.frames]


def test_frames_before_the_id_belong_to_the_answer(record: BackgroundWriter, store: FailingStore) -> None:
    first = told(record, LIMITS)
    assert record.id == "" and record.renew_lease() and record.flush() and not store.entries
    rest = told(record, CREATED, DELTA)
    assert record.id == "r1" and record.renew_lease()
    assert frames(store) == [first[0] + rest[0], rest[1]]
    (kept,) = store.entries.values()
    assert kept.response["status"] == "in_progress"


def test_frames_are_found_by_the_numbers_their_reader_knows(record: BackgroundWriter, store: FailingStore) -> None:
    all = told(record, LIMITS, CREATED, {"type": "keepalive"}, DELTA, {"type": "response.novelty"}, DONE)
    record.end()
    log = store.log("ann", "r1")
    assert log and log.frames == [(0, all[0] + all[1]), (1, all[2] + all[3]), (2, all[4] + all[5])]


def test_frames_without_any_numbers_are_counted(record: BackgroundWriter, store: FailingStore) -> None:
    unnumbered = [
        {name: value for name, value in event.items() if name != "sequence_number"} for event in (CREATED, DELTA)
    ]
    all = told(record, *unnumbered)
    assert record.renew_lease()
    log = store.log("ann", "r1")
    assert log and log.frames == [(0, all[0]), (1, all[1])]


def test_an_answer_ends_with_everything_that_was_told(record: BackgroundWriter, store: FailingStore) -> None:
    all = told(record, CREATED, DELTA, DONE)
    record.end()
    assert frames(store) == all
    response = store.get("ann", "r1") or {}
    assert response["status"] == "completed"
    assert response["output"][0]["content"][0]["text"] == "yes"


def test_a_failure_is_kept_with_its_last_words(record: BackgroundWriter, store: FailingStore) -> None:
    all = told(record, CREATED)
    record.end(UpstreamFailed("it broke"), b"event: x\n\n")
    assert frames(store) == [*all, b"event: x\n\n"]
    assert (store.get("ann", "r1") or {})["error"] == {"code": "upstream_unavailable", "message": "it broke"}


def test_giving_up_cancels_unless_somebody_else_ended_it(record: BackgroundWriter, store: FailingStore) -> None:
    told(record, CREATED, DELTA)
    store.cancel("ann", "r1")
    assert not record.renew_lease()
    (event,) = decoded(record.give_up())
    assert (event.type, event.data["sequence_number"]) == ("response.incomplete", 2)
    assert event.data["response"]["status"] == "cancelled"
    store.delete("ann", "r1")
    (event,) = decoded(record.give_up())
    assert event.data["code"] == "response_not_found"


def test_a_store_that_cannot_begin_costs_the_keeping_only(record: BackgroundWriter, store: FailingStore) -> None:
    store.fails = True
    told(record, CREATED, DELTA)
    store.fails = False
    told(record, DONE)
    assert record.renew_lease() and record.flush()
    record.end()
    assert store.entries == {} and record.id == ""


def test_what_could_not_be_written_is_written_later(record: BackgroundWriter, store: FailingStore) -> None:
    all = told(record, CREATED)
    store.fails = True
    all += told(record, DELTA)
    assert record.renew_lease()
    store.fails = False
    all += told(record, DONE)
    record.end()
    assert frames(store) == all
