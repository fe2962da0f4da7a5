"""Answers that end at a stop text or a cap: the same end however the stream was cut into pieces."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codexproxy.compat.truncate.truncator import StreamTruncator, truncate
from codexproxy.protocol.aggregate import aggregate
from codexproxy.protocol.events import Batch, Event
from codexproxy.protocol.stream import EventStream
from tests.apis.chat_reading import (
    added,
    created,
    done,
    ended,
    events,
    fragment,
    function_call,
    message,
    text_delta,
)


def answer(*deltas: str, numbered: bool = False) -> Batch:
    """A whole stream that says the deltas."""
    text = "".join(deltas)
    end = {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": text}
    payloads = [created(), added(message("")), *map(text_delta, deltas), end, done(message(text)), ended()]
    return events(*({**payload, "sequence_number": n} if numbered else payload for n, payload in enumerate(payloads)))


def run(batch: Batch, stop: tuple[str, ...] = (), cap: int | None = None, size: int | None = None) -> Batch:
    """What comes out, the batch fed in pieces of a size."""
    cutter = StreamTruncator(stop, cap, lambda: 40)
    size = size or len(batch)
    seen: Batch = []
    for start in range(0, len(batch), size):
        if not cutter.ended:
            seen += cutter.feed(batch[start : start + size])
    return seen


def text_of(batch: Batch) -> str:
    return "".join(event.data["delta"] for event in batch if event.type == "response.output_text.delta")


def folded_text(batch: Batch) -> str:
    items = [item for item in aggregate([batch])["output"] if item["type"] == "message"]
    return "".join(part["text"] for item in items for part in item["content"])


def test_the_answer_ends_before_the_stop_text():
    seen = run(answer("one E", "ND two"), ("END",))
    assert text_of(seen) == folded_text(seen) == "one "
    assert seen[-1].type == "response.completed"


def test_what_only_looked_like_a_stop_text_is_shown():
    batch = answer("one E", "N", "D.")
    seen = run(batch, ("ENDE", "EX"))
    assert text_of(seen) == folded_text(seen) == "one END."
    assert seen[-1] is batch[-1]


def test_only_what_may_become_a_stop_text_is_held_back():
    cutter = StreamTruncator(("END",), None)
    assert text_of(cutter.feed(events(text_delta("one E")))) == "one "
    assert text_of(cutter.feed(events(text_delta("xtra")))) == "Extra"


def test_what_was_held_back_comes_before_the_end_of_the_part():
    seen = run(answer("one E"), ("END",))
    kinds = [event.type for event in seen]
    assert text_of(seen) == "one E"
    assert kinds.index("response.output_text.done") > len(kinds) - 4
    assert kinds[-4] == "response.output_text.delta"


def test_the_cap_ends_the_answer_as_incomplete_and_says_the_usage_is_estimated():
    seen = run(answer("one two ", "three four"), cap=3)
    assert text_of(seen) == folded_text(seen) == "one two three"
    response = seen[-1].data["response"]
    assert seen[-1].type == "response.incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["usage"] == {
        "input_tokens": 40,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 43,
        "estimated": True,
    }
    assert response["id"] == "resp_1"


def test_an_answer_within_the_cap_keeps_its_own_end_and_usage():
    batch = answer("one two")
    assert run(batch, cap=2) == batch


def test_of_stop_and_cap_the_first_in_the_text_counts():
    assert run(answer("a b c STOP d"), (" STOP",), cap=3)[-1].type == "response.completed"
    assert run(answer("a b c STOP d"), (" STOP",), cap=2)[-1].type == "response.incomplete"


def test_text_that_came_without_deltas_is_cut_too():
    for payloads in (
        [done(message("one END"))],
        [created(), ended(output=[message("one END")])],
        [{"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "one END"}],
    ):
        seen = run(events(*payloads, ended()), ("END",))
        assert folded_text(seen) == text_of(seen) == "one "
        assert seen[-1].type == "response.completed"


def test_arguments_count_against_the_cap_and_are_cut_like_text():
    call = function_call("look", '{"a": "one two three"}')
    batch = events(added(function_call("look")), fragment('{"a": "one '), fragment('two three"}'), done(call), ended())
    for given_batch in (batch, events(done(call), ended())):
        seen = run(given_batch, cap=4)
        assert seen[-1].type == "response.incomplete"
        (item,) = aggregate([seen])["output"]
        assert call["arguments"].startswith(item["arguments"]) and item["arguments"] != call["arguments"]
        assert item["status"] == "incomplete"


def test_arguments_that_only_their_end_tells_are_cut_too():
    whole = '{"a":"one two three four five"}'
    end = {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": whole}
    seen = run(events(created(), added(function_call("f")), end, done(function_call("f", whole)), ended()), cap=5)
    (call,) = aggregate([seen])["output"]
    assert seen[-1].type == "response.incomplete"
    assert whole.startswith(call["arguments"]) and 0 < len(call["arguments"]) < len(whole)
    assert not any(event.type == end["type"] for event in seen)


def test_items_that_were_not_finished_before_the_cut_stay_in_the_final_object():
    call = [added(function_call("f")), fragment("{}")]
    seen = run(events(created(), *call, added(message(""), 1), text_delta("one two three", 1)), cap=3)
    first, second = seen[-1].data["response"]["output"]
    assert (first["arguments"], second["content"][0]["text"]) == ("{}", "one two")


def test_stop_texts_are_not_sought_in_arguments():
    batch = events(added(function_call("look")), fragment('"END"'), done(function_call("look", '"END"')), ended())
    assert run(batch, ("END",)) == batch


def test_items_before_the_cut_stay_in_the_final_object():
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    batch = events(done(thought, 0), text_delta("one END", 1), ended())
    output = run(batch, ("END",))[-1].data["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message"]


def test_a_token_does_not_reach_from_one_part_into_the_next():
    batch = events(text_delta("one", part=0), done_part("one", 0), text_delta("two", part=1), ended())
    assert text_of(run(batch, cap=1)) == "one"
    assert text_of(run(batch, cap=2)) == "onetwo"


def test_each_part_of_a_message_is_searched_by_itself():
    batch = events(text_delta("one E", part=0), done_part("one E", 0), text_delta("ND END", part=1), ended())
    assert text_of(run(batch, ("END",))) == "one END "


def done_part(text: str, part: int) -> dict[str, Any]:
    return {"type": "response.output_text.done", "output_index": 0, "content_index": part, "text": text}


def test_what_is_held_back_is_not_lost_when_no_end_of_the_part_comes():
    assert text_of(run(events(text_delta("one E"), ended()), ("END",))) == "one E"
    nameless = {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "one E"}
    assert text_of(run(events(nameless, ended()), ("END",))) == "one E"


@pytest.mark.parametrize("cap", [1, 2, 3, None])
@pytest.mark.parametrize("stop", [(), ("two",), ("w",), ("three!",)])
def test_sequence_numbers_stay_contiguous(cap: int | None, stop: tuple[str, ...]):
    for deltas in (("one t", "w", "o thr", "ee"), ("one two three",), ("one two three", "")):
        numbers = [event.data["sequence_number"] for event in run(answer(*deltas, numbered=True), stop, cap)]
        assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("cap", [1, 3, None])
def test_sequence_numbers_stay_contiguous_without_deltas(cap: int | None):
    payloads = [created(), done(message("one two END")), ended()]
    batch = events(*({**payload, "sequence_number": n} for n, payload in enumerate(payloads)))
    numbers = [event.data["sequence_number"] for event in run(batch, ("END",), cap)]
    assert numbers == list(range(len(numbers)))


def test_events_of_an_odd_shape_pass():
    odd: list[dict[str, Any]] = [
        {"type": "response.output_text.delta"},
        {"type": "response.output_text.done"},
        {"type": "response.function_call_arguments.delta", "delta": 5},
        {"type": "response.output_item.done", "item": 5},
        {"type": "response.output_item.added"},
        {"type": "response.output_item.done", "item": {"type": "message", "content": [5, {"type": "output_text"}]}},
        {"type": "response.completed", "response": {"output": 5}},
        {"type": "response.completed"},
    ]
    assert len(run(events(*odd), ("END",), 5)) == len(odd)


def pieces(text: str, cuts: list[int]) -> list[str]:
    edges = [0, *sorted(truncate for truncate in cuts if truncate < len(text)), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


TEXTS = st.text(st.sampled_from("ab. \nEND1é中"), max_size=60)
STOPS = st.lists(st.text(st.sampled_from("ab END"), min_size=1, max_size=4), max_size=3).map(tuple)


@settings(max_examples=300)
@given(TEXTS, STOPS, st.none() | st.integers(1, 12), st.lists(st.integers(0, 60)), st.integers(1, 5))
def test_the_end_does_not_depend_on_the_pieces(
    text: str, stop: tuple[str, ...], cap: int | None, cuts: list[int], size: int
):
    whole = run(answer(text), stop, cap)
    seen = run(answer(*pieces(text, cuts)), stop, cap, size)
    assert text_of(seen) == text_of(whole) == folded_text(seen)
    assert text.startswith(text_of(seen))
    assert seen[-1].type == whole[-1].type
    assert not any(word in text_of(seen) for word in stop)


@settings(max_examples=200)
@given(TEXTS, STOPS)
def test_without_a_cap_the_text_ends_before_the_first_stop_text_that_is_complete(text: str, stop: tuple[str, ...]):
    ends = sorted((text.find(word) + len(word), text.find(word)) for word in stop if word in text)
    assert text_of(run(answer(text), stop)) == (text[: ends[0][1]] if ends else text)


# -- on a stream ------------------------------------------------------------------------------


class Tape:
    """A source that plays batches, and counts its closings."""

    def __init__(self, *batches: Batch) -> None:
        self.batches: Iterator[Batch] = iter(batches)
        self.left = list(batches)
        self.closed = 0

    def read(self, patience: float) -> Batch | None:
        return self.left.pop(0) if self.left else None

    def close(self) -> None:
        self.closed += 1


def test_upstream_is_freed_at_the_cut_and_nothing_more_is_read():
    tape = Tape(*([event] for event in answer("one END", "two", "three")))
    stream = truncate(EventStream(tape), ("END",), None)
    seen = [event for batch in stream for event in batch]
    assert text_of(seen) == "one "
    assert stream.terminal is not None and stream.terminal.type == "response.completed"
    assert tape.closed == 1
    assert len(tape.left) == 5
    stream.close()


def test_silence_and_failures_pass_through():
    failed = Event.of({"type": "response.failed", "response": {"error": {"code": "x"}}})
    stream = truncate(EventStream(Tape([], [failed])), ("END",), None)
    assert list(stream) == [[], [failed]]
    assert stream.terminal is failed


def test_a_stream_that_nobody_wants_to_cut_is_left_alone():
    stream = EventStream(Tape())
    assert truncate(stream, (), None) is stream


def test_the_request_is_counted_only_when_it_is_needed():
    def never() -> int:
        raise AssertionError("nobody asked")

    stream = truncate(EventStream(Tape(answer("one two"))), (), 5, never)
    assert text_of([event for batch in stream for event in batch]) == "one two"
