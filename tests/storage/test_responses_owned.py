"""One caller's stored responses, as the parts above use them."""

from codexproxy.compat.history.continuation import expand_history, with_item_ids
from codexproxy.protocol.request import StorageOptions, Turn
from codexproxy.storage.stored_responses import OwnedResponses
from tests.contracts.response_stores import Clock, message
from tests.fakes.responses import MemoryResponseStore


def test_a_conversation_goes_on_for_its_owner_only():
    store = MemoryResponseStore(clock=Clock())
    ann, bob = OwnedResponses(store, "ann"), OwnedResponses(store, "bob")
    asked = with_item_ids([{"type": "message", "role": "user", "content": "hi"}], lambda prefix: f"{prefix}_1")
    ann.save({"id": "r1", "status": "completed", "output": [message("msg_2", "hello")]}, asked)
    turn = Turn("m", {"input": [message("msg_3", "more", "user")]}, storage=StorageOptions(previous_response_id="r1"))
    assert [item["id"] for item in expand_history(turn, ann).body["input"]] == ["msg_1", "msg_2", "msg_3"]
    assert bob.get("r1") is None and bob.history("r1") is None and not bob.delete("r1")
    assert ann.delete("r1")


def test_a_response_in_the_making_is_followed_and_cancelled():
    clock = Clock()
    ann = OwnedResponses(MemoryResponseStore(clock=clock), "ann")
    journal = ann.begin({"id": "r1", "status": "in_progress", "output": []}, [])
    journal.add(b"a", 0)
    journal.add(b"b", 1)
    assert journal.finish({"id": "r1", "status": "completed", "output": []})
    assert list(ann.follow("r1", after=0, patience=1, sleep=clock.sleep)) == [[(1, b"b")]]
    assert (ann.cancel("r1") or {})["status"] == "completed"
    assert ann.items(["nothing"]) == {}
