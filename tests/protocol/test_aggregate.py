"""The Response object of a stream, rebuilt where its final event does not hold the answer."""

import sys
from types import FrameType
from typing import Any

import pytest

from codexproxy.errors import UpstreamFailed
from codexproxy.protocol.aggregate import MOST_DELTAS, ResponseAggregator, aggregate
from codexproxy.protocol.events import Event
from tests.apis.chat_reading import added, done, ended, events, fragment, function_call, message, text_delta

ITEM = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}


def ended_with(output: Any) -> dict[str, Any]:
    done = Event.of({"type": "response.output_item.done", "output_index": 0, "item": ITEM})
    last = Event.of({"type": "response.completed", "response": {"id": "resp_1", "output": output}})
    return aggregate([[done, last]])


@pytest.mark.parametrize("output", [[], None, "nonsense", {"a": 1}, 7])
def test_an_output_that_is_none_is_rebuilt_from_what_was_streamed(output: Any) -> None:
    assert ended_with(output)["output"] == [ITEM]


def test_an_output_that_is_there_is_kept() -> None:
    other = {**ITEM, "id": "msg_2"}
    assert ended_with([other])["output"] == [other]


PLACE = {"output_index": 0, "content_index": 0}
ENDS_ALONE: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "a text": (
        [{"type": "response.output_text.done", "text": "hi", **PLACE}],
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi", "annotations": []}]},
    ),
    "a refusal": (
        [{"type": "response.refusal.done", "refusal": "no", **PLACE}],
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    ),
    "arguments": (
        [
            {"type": "response.output_item.added", "output_index": 0, "item": {"type": "function_call", "name": "f"}},
            {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": "{}"},
        ],
        {"type": "function_call", "name": "f", "arguments": "{}"},
    ),
    "a summary": (
        [
            {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "summary": []}},
            {"type": "response.reasoning_summary_text.done", "output_index": 0, "summary_index": 0, "text": "Hm."},
        ],
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
    ),
}


@pytest.mark.parametrize(("events", "item"), ENDS_ALONE.values(), ids=list(ENDS_ALONE))
def test_what_only_the_end_of_a_part_tells_is_kept(events: list[dict[str, Any]], item: dict[str, Any]) -> None:
    assert aggregate([list(map(Event.of, events))])["output"] == [item]


def test_citations_of_one_answer_do_not_appear_in_the_next() -> None:
    delta = {"type": "response.output_text.delta", "delta": "hi", **PLACE}
    cited = {"type": "response.output_text.annotation.added", "annotation": {"type": "url_citation"}, **PLACE}
    assert aggregate([[Event.of(delta), Event.of(cited)]])["output"][0]["content"][0]["annotations"]
    assert aggregate([[Event.of(delta)]])["output"][0]["content"][0]["annotations"] == []


@pytest.mark.parametrize("content", [["x"], [None], [7, {}], "x", None, {}])
def test_parts_that_are_none_do_no_harm(content: Any) -> None:
    item = {"type": "message", "role": "assistant", "content": content}
    told = [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_text.delta", "delta": "hi", **PLACE},
    ]
    (found,) = aggregate([list(map(Event.of, told))])["output"]
    assert found["content"][0]["text"] == "hi"


def test_the_citations_of_one_answer_are_in_no_other() -> None:
    place = {"output_index": 0, "content_index": 0}
    cited = {"type": "response.output_text.annotation.added", "annotation": {"url": "https://a.example"}, **place}
    aggregate([[Event.of(cited)]])
    (item,) = aggregate([[Event.of({"type": "response.output_text.delta", "delta": "hi", **place})]])["output"]
    assert item["content"] == [{"type": "output_text", "text": "hi", "annotations": []}]


# -- deferred events --------------------------------------------------------------------------


def noted(*told: dict[str, Any]) -> list[Any]:
    aggregator = ResponseAggregator()
    for event in events(*told, ended()):
        aggregator.defer([event])
    output: list[Any] = aggregator.response()["output"]
    return output


def test_an_item_that_was_done_is_what_was_said_last() -> None:
    assert noted(added(message("")), text_delta("hi"), done(message("hi there"))) == [message("hi there")]


def test_an_item_that_was_never_done_is_what_its_deltas_said() -> None:
    (first, second) = noted(
        added(message("")),
        text_delta("hi"),
        added(function_call("look"), 1),
        fragment('{"a"', 1),
        fragment(":1}", 1),
    )
    assert first["content"][0]["text"] == "hi"
    assert second["arguments"] == '{"a":1}'


def test_deltas_without_an_item_are_a_message() -> None:
    (item,) = noted(text_delta("h"), text_delta("i"))
    assert (item["type"], item["content"][0]["text"]) == ("message", "hi")


def test_deltas_of_items_that_are_done_are_forgotten() -> None:
    aggregator = ResponseAggregator()
    aggregator.defer(events(added(message("")), *[text_delta("x")] * 500, done(message("x" * 500))))
    assert len(aggregator._kept + aggregator._fresh) == 2


def test_more_deltas_than_can_be_remembered_leave_the_item_to_its_end() -> None:
    many = [text_delta("x")] * (MOST_DELTAS + 1)
    assert noted(added(message("")), *many, done(message("x"))) == [message("x")]
    assert noted(added(message("")), *many) == [message("")]


def test_what_is_no_json_is_told_only_to_who_asks_for_the_answer() -> None:
    aggregator = ResponseAggregator()
    aggregator.defer([Event("response.output_item.done", b"", b"{nonsense")])
    with pytest.raises(UpstreamFailed):
        aggregator.response()


@pytest.mark.parametrize("interleaved", [False, True])
def test_a_text_that_goes_on_between_others_is_whole(interleaved: bool) -> None:
    first, second = [text_delta(str(n), 0) for n in range(5)], [text_delta("x", 1) for _ in range(5)]
    told = [event for pair in zip(first, second, strict=True) for event in pair] if interleaved else first + second
    output = aggregate([events(*told)])["output"]
    assert [item["content"][0]["text"] for item in output] == ["01234", "xxxxx"]


def test_what_was_asked_for_on_the_way_does_not_end_a_text() -> None:
    aggregator = ResponseAggregator()
    for letter in "abc":
        aggregator.add(events(text_delta(letter)))
        assert aggregator.response()["output"][0]["content"][0]["text"].endswith(letter)
    assert aggregator.response()["output"][0]["content"][0]["text"] == "abc"


def test_a_broken_event_is_reported_each_time_the_answer_is_asked_for() -> None:
    aggregator = ResponseAggregator()
    aggregator.defer([*events(text_delta("a")), Event("response.output_item.done", b"", b"{nonsense")])
    for _ in range(2):
        with pytest.raises(UpstreamFailed):
            aggregator.response()


def test_a_delta_of_a_text_under_way_is_one_call_beside_its_json() -> None:
    deltas = [Event.of(text_delta("x" * 1000)) for _ in range(20_000)]
    aggregator = ResponseAggregator()
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        for delta in deltas:
            aggregator.add([delta])
    finally:
        sys.setprofile(None)
    assert aggregator.response()["output"][0]["content"][0]["text"] == "x" * 20_000_000
    # ``add`` and ``Event.data``, and a few for the first of them.
    assert calls < 2 * len(deltas) + 50
