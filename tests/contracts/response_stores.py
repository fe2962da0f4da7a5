"""What every store of responses promises; each store runs this suite."""

from collections.abc import Callable
from typing import Any

import pytest

from codexproxy.storage.base import DAY, Limits, ResponseStore, Stored
from codexproxy.storage.stored_responses import ResponseLog, follow

Make = Callable[[Limits], ResponseStore]


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def message(id: str, text: str, role: str = "assistant") -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"id": id, "type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def stored(
    id: str, *, owner: str = "ann", previous: str | None = None, text: str = "hi", status: str = "completed"
) -> Stored:
    response = {"id": id, "object": "response", "status": status, "model": "m", "output": [message(f"msg_{id}", text)]}
    return Stored(owner, response, [message(f"in_{id}", f"ask {id}", "user")], previous)


def texts(items: list[dict[str, Any]]) -> list[str]:
    return [item["content"][0]["text"] for item in items]


class ResponseStoreContract:
    """Subclasses provide the fixture ``make``: a maker of empty stores on the fixture ``clock``."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def store(self, make: Make) -> ResponseStore:
        return make(Limits())

    def test_what_was_saved_is_read_as_it_was(self, store: ResponseStore) -> None:
        store.save(stored("r1"))
        assert store.get("ann", "r1") == stored("r1").response

    def test_a_response_without_output_is_read_with_an_empty_one(self, store: ResponseStore) -> None:
        store.save(Stored("ann", {"id": "r1", "status": "failed", "output": []}))
        assert store.get("ann", "r1") == {"id": "r1", "status": "failed", "output": []}

    def test_nobody_else_can_see_touch_or_continue_it(self, store: ResponseStore) -> None:
        store.save(stored("r1"))
        assert store.get("bob", "r1") is None
        assert store.history("bob", "r1") is None
        assert store.items("bob", ["msg_r1", "in_r1"]) == {}
        assert store.log("bob", "r1") is None
        assert store.cancel("bob", "r1") is None
        assert not store.delete("bob", "r1")
        store.save(stored("r2", owner="bob", previous="r1"))
        found = store.history("bob", "r2")
        assert found and found.lost == "r1" and texts(found.input) == ["ask r2"]
        assert store.get("ann", "r1")

    def test_two_keys_may_have_responses_of_the_same_id(self, store: ResponseStore) -> None:
        store.save(stored("r1", text="for ann"))
        store.save(stored("r1", owner="bob", text="for bob"))
        assert texts((store.get("ann", "r1") or {})["output"]) == ["for ann"]
        assert texts((store.get("bob", "r1") or {})["output"]) == ["for bob"]

    def test_the_later_response_of_an_id_counts(self, store: ResponseStore) -> None:
        store.save(stored("r1", text="first"))
        store.save(stored("r1", text="second"))
        assert texts((store.get("ann", "r1") or {})["output"]) == ["second"]

    def test_deleting_forgets_once(self, store: ResponseStore) -> None:
        store.save(stored("r1"))
        assert store.delete("ann", "r1")
        assert not store.delete("ann", "r1")
        assert store.get("ann", "r1") is None
        assert store.items("ann", ["msg_r1"]) == {}

    def test_a_conversation_is_read_from_its_beginning(self, store: ResponseStore) -> None:
        store.save(stored("r1", text="one"))
        store.save(stored("r2", text="two", previous="r1"))
        store.save(stored("r3", text="three", previous="r2"))
        store.save(stored("other", previous="r1"))
        found = store.history("ann", "r3")
        assert found and found.lost is None and found.status == "completed"
        assert texts(found.input) == ["ask r1", "one", "ask r2", "two", "ask r3"]
        assert texts(found.output) == ["three"]

    def test_a_response_may_continue_one_of_its_own_id(self, store: ResponseStore) -> None:
        store.save(stored("r1", text="one"))
        store.save(stored("r1", text="two", previous="r1"))
        found = store.history("ann", "r1")
        assert found and found.lost is None
        assert texts(found.input + found.output) == ["ask r1", "one", "ask r1", "two"]

    def test_a_gap_in_a_conversation_is_named(self, store: ResponseStore) -> None:
        for id, previous in (("r1", None), ("r2", "r1"), ("r3", "r2")):
            store.save(stored(id, previous=previous))
        store.delete("ann", "r1")
        found = store.history("ann", "r3")
        assert found and found.lost == "r1"

    def test_items_are_found_by_their_ids(self, store: ResponseStore) -> None:
        store.save(stored("r1", text="one"))
        store.save(stored("r2", text="two"))
        found = store.items("ann", ["msg_r2", "in_r1", "nothing"])
        assert found == {"msg_r2": message("msg_r2", "two"), "in_r1": message("in_r1", "ask r1", "user")}
        assert store.items("ann", []) == {}

    def test_sizes_are_known_without_reading(self, store: ResponseStore) -> None:
        store.save(stored("r1", text="one" * 500))
        store.save(stored("r2", text="two" * 1_000, previous="r1"))
        sizes = store.item_sizes("ann", ["msg_r1", "msg_r2", "nothing"])
        assert sizes.keys() == {"msg_r1", "msg_r2"}
        assert 1_500 < sizes["msg_r1"] < 2_500 and 3_000 < sizes["msg_r2"] < 4_000
        assert sum(sizes.values()) < store.history_size("ann", "r2") < sum(sizes.values()) + 1_500
        assert store.history_size("ann", "r1") < store.history_size("ann", "r2")
        assert store.history_size("bob", "r2") == store.history_size("ann", "nothing") == 0
        assert store.item_sizes("bob", ["msg_r1"]) == {}

    def test_of_an_item_that_stands_in_many_responses_the_latest_output_counts(self, store: ResponseStore) -> None:
        store.save(stored("r1", text="said"))
        again = message("msg_r1", "as the client sent it back")
        store.save(Stored("ann", {"id": "r2", "status": "completed", "output": []}, [again]))
        assert store.items("ann", ["msg_r1"]) == {"msg_r1": message("msg_r1", "said")}
        assert store.items("ann", ["msg_r1"] * 3) == {"msg_r1": message("msg_r1", "said")}

    def test_items_without_an_id_stay_without(self, store: ResponseStore) -> None:
        item = {"type": "message", "role": "user", "content": "x"}
        store.save(Stored("ann", {"id": "r1", "status": "completed", "output": []}, [item]))
        found = store.history("ann", "r1")
        assert found and found.input == [item]

    def test_any_json_survives(self, store: ResponseStore) -> None:
        item = {"id": "i", "type": "odd", "text": "\ud800 \u2028 \U0001f600", "n": [1.5, None, {"a": []}]}
        store.save(Stored("ann", {"id": "r1", "status": "completed", "output": [item]}))
        assert (store.get("ann", "r1") or {})["output"] == [item]

    def test_old_conversations_are_forgotten(self, make: Make, clock: Clock) -> None:
        store = make(Limits(max_age=DAY))
        store.save(stored("old"))
        store.save(stored("r1"))
        clock.now += 0.75 * DAY
        store.save(stored("r2", previous="r1"))
        clock.now += 0.5 * DAY
        assert store.get("ann", "old") is None and store.items("ann", ["msg_old"]) == {}
        assert store.get("ann", "r1"), "it belongs to a conversation that went on"
        assert store.sweep() == 1

    def test_the_least_recently_continued_go_first(self, make: Make, clock: Clock) -> None:
        store = make(Limits(max_responses=4))
        for id, previous in (("a", None), ("b", None), ("a2", "a"), ("c", None), ("d", None)):
            clock.now += 1
            store.save(stored(id, previous=previous))
        assert [id for id in ("a", "b", "a2", "c", "d") if store.get("ann", id)] == ["a", "a2", "c", "d"]

    def test_an_unfinished_response_is_updated_and_finished_once(self, store: ResponseStore) -> None:
        store.begin(stored("r1", status="queued"))
        assert (store.get("ann", "r1") or {})["status"] == "queued"
        assert store.advance("ann", "r1", response={"id": "r1", "status": "in_progress", "output": []})
        assert (store.get("ann", "r1") or {})["status"] == "in_progress"
        final = {"id": "r1", "status": "completed", "output": [message("m", "done")]}
        assert store.finish("ann", "r1", final)
        assert not store.finish("ann", "r1", {"id": "r1", "status": "failed", "output": []})
        assert not store.advance("ann", "r1")
        assert store.get("ann", "r1") == final

    def test_cancelling_ends_it_for_its_maker_too(self, store: ResponseStore) -> None:
        store.begin(stored("r1", status="in_progress"))
        assert (store.cancel("ann", "r1") or {})["status"] == "cancelled"
        assert (store.get("ann", "r1") or {})["status"] == "cancelled"
        assert not store.advance("ann", "r1")
        assert not store.finish("ann", "r1", {"id": "r1", "status": "completed", "output": []})
        assert (store.get("ann", "r1") or {})["status"] == "cancelled"

    def test_cancelling_a_finished_one_changes_nothing(self, store: ResponseStore) -> None:
        store.save(stored("r1"))
        assert (store.cancel("ann", "r1") or {})["status"] == "completed"
        assert store.cancel("ann", "nothing") is None

    def test_deleting_an_unfinished_one_tells_its_maker(self, store: ResponseStore) -> None:
        store.begin(stored("r1", status="in_progress"))
        store.delete("ann", "r1")
        assert not store.advance("ann", "r1")

    def test_it_is_known_when_somebody_last_read_along(self, store: ResponseStore, clock: Clock) -> None:
        store.begin(stored("r1", status="in_progress"))
        assert store.attended("ann", "r1") is None
        store.attend("bob", "r1")
        assert store.attended("ann", "r1") is None
        store.attend("ann", "r1")
        seen = clock.now
        clock.now += 5
        assert store.attended("ann", "r1") == seen
        assert store.attended("ann", "nothing") is None

    def test_a_maker_that_falls_silent_has_failed(self, make: Make, clock: Clock) -> None:
        store = make(Limits(lease=60))
        store.begin(stored("r1", status="in_progress"))
        clock.now += 50
        assert store.advance("ann", "r1")
        clock.now += 50
        assert (store.get("ann", "r1") or {})["status"] == "in_progress"
        clock.now += 11
        for _ in range(2):
            response = store.get("ann", "r1") or {}
            assert response["status"] == "failed" and response["error"]["code"] == "server_error"
            excerpt = store.log("ann", "r1")
            assert excerpt and excerpt.is_last
            store.sweep()
        assert not store.finish("ann", "r1", {"id": "r1", "status": "completed", "output": []})

    def test_a_maker_that_wakes_up_too_late_is_not_heard(self, make: Make, clock: Clock) -> None:
        store = make(Limits(lease=60))
        store.begin(stored("r1", status="in_progress"))
        clock.now += 61
        assert not store.advance("ann", "r1")
        assert not store.finish("ann", "r1", {"id": "r1", "status": "completed", "output": []})
        assert (store.get("ann", "r1") or {})["status"] == "failed"

    def test_deleting_leaves_others_what_they_share(self, store: ResponseStore) -> None:
        store.save(stored("r1", text="the same"))
        store.save(stored("r2", text="the same"))
        store.delete("ann", "r1")
        assert texts((store.get("ann", "r2") or {})["output"]) == ["the same"]

    def test_the_log_is_read_from_anywhere(self, store: ResponseStore) -> None:
        store.begin(stored("r1", status="in_progress"))
        store.advance("ann", "r1", [(number, b"frame %d" % number) for number in range(5)])
        excerpt = store.log("ann", "r1", after=2)
        assert excerpt and excerpt.frames == [(3, b"frame 3"), (4, b"frame 4")] and not excerpt.is_last
        store.finish("ann", "r1", stored("r1").response | {}, [(5, b"the end")])
        excerpt = store.log("ann", "r1", after=3, limit=1)
        assert excerpt and excerpt.frames == [(4, b"frame 4")] and not excerpt.is_last
        excerpt = store.log("ann", "r1", after=4)
        assert excerpt and excerpt.frames == [(5, b"the end")] and excerpt.is_last

    def test_a_frame_that_is_written_twice_is_kept_once(self, store: ResponseStore) -> None:
        store.begin(stored("r1", status="in_progress"))
        store.advance("ann", "r1", [(0, b"a")])
        store.advance("ann", "r1", [(0, b"again"), (1, b"b")])
        excerpt = store.log("ann", "r1")
        assert excerpt and excerpt.frames == [(0, b"a"), (1, b"b")]

    def test_a_journal_gathers_frames_and_says_that_it_is_there(self, store: ResponseStore, clock: Clock) -> None:
        store.begin(stored("r1", status="in_progress"))
        journal = ResponseLog(store, "ann", "r1", clock)
        journal.add(b"a", 0)
        assert journal.keep_up()
        excerpt = store.log("ann", "r1")
        assert excerpt and excerpt.frames == []
        clock.now += 1
        journal.add(b"b", 7)
        journal.add(b"c")
        assert journal.keep_up()
        excerpt = store.log("ann", "r1")
        assert excerpt and excerpt.frames == [(0, b"a"), (7, b"b"), (8, b"c")]
        for _ in range(20):
            clock.now += 11
            assert journal.keep_up()
        assert (store.get("ann", "r1") or {})["status"] == "in_progress"
        journal.add(b"d", 3)
        assert journal.finish({"id": "r1", "status": "completed", "output": []})
        assert list(follow(store, "ann", "r1", after=7, sleep=clock.sleep)) == [[(8, b"c"), (9, b"d")]]

    def test_a_journal_learns_that_nobody_wants_it_any_more(self, store: ResponseStore, clock: Clock) -> None:
        store.begin(stored("r1", status="in_progress"))
        journal = ResponseLog(store, "ann", "r1", clock)
        store.cancel("ann", "r1")
        clock.now += 11
        assert not journal.keep_up()

    def test_a_reader_follows_to_the_end_and_hears_of_silence(self, store: ResponseStore, clock: Clock) -> None:
        store.begin(stored("r1", status="in_progress"))

        def sleep(seconds: float) -> None:
            clock.now += seconds
            steps = round((clock.now - 1_800_000_000) / seconds)
            if steps == 3:
                store.advance("ann", "r1", [(0, b"a"), (1, b"b")])
            if steps == 20:
                store.finish("ann", "r1", {"id": "r1", "status": "completed", "output": []}, [(2, b"c")])

        seen = list(follow(store, "ann", "r1", sleep=sleep, pause=0.1, patience=1.0))
        assert seen == [[(0, b"a"), (1, b"b")], [], [(2, b"c")]]

    def test_a_reader_of_nothing_sees_nothing(self, store: ResponseStore) -> None:
        assert list(follow(store, "ann", "nothing")) == []
