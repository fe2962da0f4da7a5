"""What is kept of an answer on its way: everything, without a look at its deltas."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.compat.history.continuation import expand_history
from codexproxy.protocol.aggregate import STRUCTURE, aggregate
from codexproxy.protocol.events import Event
from codexproxy.protocol.request import Caller
from codexproxy.server.stored.response_service import ResponseSaver, ResponseService
from codexproxy.storage.base import Stored
from codexproxy.storage.sqlite.database import DatabaseFailed
from tests.apis.recorded import Recording, each_recording, recordings
from tests.fakes.responses import MemoryResponseStore


class FullStore(MemoryResponseStore):
    """A store whose disk is full."""

    def save(self, stored: Stored) -> None:
        raise DatabaseFailed("the disk is full")


def saver(store: MemoryResponseStore, **body: Any) -> ResponseSaver:
    api, responses = ResponsesApi(), ResponseService(store)
    turn = api.parse({"model": "m", "input": "hi", **body}, Caller("ann"))
    kept = responses.saver(api, expand_history(turn, responses.of("ann")))
    assert kept is not None
    return kept


@each_recording()
def test_every_item_can_be_rebuilt_without_deltas(recording: Recording) -> None:
    events = recording.events()
    lean = [event for event in events if event.type in STRUCTURE]
    assert not [event for event in lean if event.type.endswith(".delta")]
    assert aggregate([lean]) == aggregate([events])


@given(cuts=st.lists(st.integers(1, 200)), choice=st.integers(0, 10_000))
def test_the_answer_is_saved_before_its_last_events_pass(cuts: list[int], choice: int) -> None:
    found = recordings()
    if not found:
        return
    events = found[choice % len(found)].events()
    edges = [0, *sorted({cut for cut in cuts if cut < len(events)}), len(events)]
    batches = [events[start:stop] for start, stop in pairwise(edges)]
    store = MemoryResponseStore()
    kept = saver(store)
    for batch in batches:
        kept.note(batch)
        ended = any(event.type in ("response.completed", "response.incomplete") for event in batch)
        assert bool(store.entries) or not ended


def test_an_answer_is_kept_as_it_is_told() -> None:
    item = {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "yes"}]}
    events = [
        Event.of({"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}),
        Event.of({"type": "response.output_item.done", "output_index": 0, "item": item}),
        Event.of({"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": []}}),
    ]
    store = MemoryResponseStore()
    saver(store, metadata={"a": "b"}).note(events)
    kept = store.get("ann", "resp_1") or {}
    assert (kept["status"], kept["metadata"], kept["output"][0]["id"]) == ("completed", {"a": "b"}, "msg_1")
    history = store.history("ann", "resp_1")
    assert history and history.input[0]["id"].startswith("msg_")


def test_an_event_that_is_no_json_ends_only_the_keeping() -> None:
    broken = Event("response.output_item.done", b"data: {\n\n", b"{")
    end = Event.of({"type": "response.completed", "response": {"id": "resp_1", "output": []}})
    store = MemoryResponseStore()
    kept = saver(store)
    for event in (broken, end):
        kept.note([event])
    assert store.entries == {}


def test_a_full_disk_costs_nobody_the_answer() -> None:
    end = Event.of({"type": "response.completed", "response": {"id": "resp_1", "output": []}})
    store = FullStore()
    saver(store).note([end])
    assert store.entries == {}
