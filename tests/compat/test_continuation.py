"""Requests that lean on stored responses are made whole."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from codexproxy.compat.history.continuation import as_input, expand_history, with_item_ids
from codexproxy.errors import BodyTooLarge, InvalidRequest
from codexproxy.protocol.events import encode_json
from codexproxy.protocol.request import StorageOptions, Turn

Item = dict[str, Any]


@dataclass
class Past:
    input: list[Item]
    output: list[Item]
    status: str = "completed"
    lost: str | None = None


@dataclass
class Notebook:
    """A memory that is written down in a test."""

    past: dict[str, Past] = field(default_factory=dict)
    kept: dict[str, Item] = field(default_factory=dict)
    asked: list[list[str]] = field(default_factory=list)

    def history(self, id: str) -> Past | None:
        return self.past.get(id)

    def items(self, ids: Sequence[str]) -> dict[str, Item]:
        self.asked.append(list(ids))
        return {id: self.kept[id] for id in ids if id in self.kept}

    def history_size(self, id: str) -> int:
        past = self.past.get(id)
        return len(encode_json([past.input, past.output])) if past else 0

    def item_sizes(self, ids: Sequence[str]) -> dict[str, int]:
        return {id: len(encode_json(self.kept[id])) for id in ids if id in self.kept}


def user(text: str, id: str | None = None) -> Item:
    item: Item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    return {"id": id, **item} if id else item


CALL = {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "42"}
REASONING = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gA"}


def turn(*items: Item, previous: str | None = None) -> Turn:
    return Turn("m", {"input": list(items)}, storage=StorageOptions(previous_response_id=previous))


def reference(id: str) -> Item:
    return {"type": "item_reference", "id": id}


def refusal(turn: Turn, memory: Notebook) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        expand_history(turn, memory)
    return caught.value


def test_a_turn_that_leans_on_nothing_stays_as_it_is():
    memory = Notebook()
    given = turn(user("hi"))
    found = expand_history(given, memory)
    assert found.body == given.body and found.adapted == ()
    assert found.storage.own_input == [user("hi")] and found.storage.store is None
    assert memory.asked == []


def test_a_continued_response_stands_before_the_new_items():
    memory = Notebook({"r1": Past([user("first", "in_1")], [REASONING, CALL])})
    found = expand_history(turn(OUTPUT, previous="r1"), memory)
    assert found.body["input"] == [user("first", "in_1"), REASONING, CALL, OUTPUT]
    assert found.storage.own_input == [OUTPUT]


def test_what_only_tells_how_an_item_was_made_is_not_sent_back():
    answer = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "phase": "final_answer",
        "content": [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}],
    }
    memory = Notebook({"r1": Past([], [answer, {**CALL, "status": "completed"}])})
    sent = expand_history(turn(OUTPUT, previous="r1"), memory).body["input"]
    assert sent[0] == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "phase": "final_answer",
        "content": [{"type": "output_text", "text": "hi", "annotations": []}],
    }
    assert sent[1] == CALL
    assert answer["status"] == "completed", "what is stored is not changed"


def test_unknown_items_are_replayed_as_they_are():
    odd = {"type": "web_search_call", "id": "ws_1", "status": "completed", "content": [1]}
    assert as_input(odd) is odd


def test_references_become_the_items_they_name():
    memory = Notebook(kept={"fc_1": {**CALL, "status": "completed"}, "rs_1": REASONING})
    found = expand_history(turn(user("hi"), reference("rs_1"), reference("fc_1"), OUTPUT), memory)
    assert found.body["input"] == [user("hi"), REASONING, CALL, OUTPUT]
    assert found.storage.own_input == found.body["input"]
    assert memory.asked == [["rs_1", "fc_1"]], "all are looked up at once"


def test_what_the_continued_conversation_holds_is_not_repeated():
    memory = Notebook({"r1": Past([user("first", "in_1")], [CALL])}, kept={"fc_1": CALL})
    found = expand_history(turn(user("first", "in_1"), reference("fc_1"), OUTPUT, previous="r1"), memory)
    assert found.body["input"] == [user("first", "in_1"), CALL, OUTPUT]
    assert found.adapted == ("repeated_items=2",)


def test_an_odd_id_is_left_to_upstream():
    odd = {"type": "odd", "id": ["x"]}
    assert expand_history(turn(odd, previous="r1"), Notebook({"r1": Past([], [CALL])})).body["input"] == [CALL, odd]


def test_a_response_that_is_not_stored_is_named():
    error = refusal(turn(previous="r9"), Notebook())
    assert (error.status, error.code, error.param) == (400, "previous_response_not_found", "previous_response_id")
    assert "r9" in error.message and "'input'" in error.message


def test_a_conversation_with_a_gap_is_refused():
    error = refusal(turn(previous="r2"), Notebook({"r2": Past([], [], lost="r1")}))
    assert error.code == "previous_response_not_found" and "r1" in error.message


@pytest.mark.parametrize("status", ["queued", "in_progress", "failed", "cancelled", "odd"])
def test_only_an_answer_can_be_continued(status: str):
    error = refusal(turn(previous="r1"), Notebook({"r1": Past([], [], status)}))
    assert (error.status, error.param) == (400, "previous_response_id")


def test_an_incomplete_answer_can_be_continued():
    memory = Notebook({"r1": Past([user("a", "i")], [], "incomplete")})
    assert expand_history(turn(user("b"), previous="r1"), memory).body["input"] == [user("a", "i"), user("b")]


def test_an_item_that_is_not_stored_is_named_by_its_place():
    error = refusal(turn(user("hi"), reference("fc_9")), Notebook())
    assert (error.status, error.code, error.param) == (400, "item_not_found", "input[1].id")


def test_every_item_gets_an_id_and_keeps_its_own():
    items = with_item_ids([user("a"), user("b", "mine"), OUTPUT, {"type": "odd"}], lambda prefix: f"{prefix}_1")
    assert [item["id"] for item in items] == ["msg_1", "mine", "fco_1", "item_1"]


def test_what_is_referred_to_counts_as_often_as_it_is_named_and_is_not_read_beyond_the_bound():
    memory = Notebook(kept={"a": user("x" * 1_000, "a")})
    assert len(expand_history(turn(*[reference("a")] * 3), memory, 5_000).body["input"]) == 3
    memory.asked.clear()
    with pytest.raises(BodyTooLarge) as caught:
        expand_history(turn(*[reference("a")] * 6), memory, 5_000)
    assert caught.value.status == 413 and caught.value.param == "input"
    assert memory.asked == []


def test_a_continued_conversation_counts_as_well():
    memory = Notebook(past={"r": Past([user("x" * 1_000, "a")], [])})
    with pytest.raises(BodyTooLarge) as caught:
        expand_history(turn(user("and?"), previous="r"), memory, 900)
    assert caught.value.param == "previous_response_id"


def test_an_item_that_is_named_often_is_asked_for_once():
    memory = Notebook(kept={"a": user("x", "a")})
    expand_history(turn(*[reference("a")] * 50), memory)
    assert memory.asked == [["a"]]
