"""Streams whose final event does not say what they said."""

from typing import Any

import pytest

from codexproxy.protocol.aggregate import fold
from codexproxy.protocol.events import Event

ITEM = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}


def ended_with(output: Any) -> dict[str, Any]:
    done = Event.of({"type": "response.output_item.done", "output_index": 0, "item": ITEM})
    last = Event.of({"type": "response.completed", "response": {"id": "resp_1", "output": output}})
    return fold([[done, last]])


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
    assert fold([list(map(Event.of, events))])["output"] == [item]


def test_citations_of_one_answer_do_not_appear_in_the_next() -> None:
    delta = {"type": "response.output_text.delta", "delta": "hi", **PLACE}
    cited = {"type": "response.output_text.annotation.added", "annotation": {"type": "url_citation"}, **PLACE}
    assert fold([[Event.of(delta), Event.of(cited)]])["output"][0]["content"][0]["annotations"]
    assert fold([[Event.of(delta)]])["output"][0]["content"][0]["annotations"] == []


@pytest.mark.parametrize("content", [["x"], [None], [7, {}], "x", None, {}])
def test_parts_that_are_none_do_no_harm(content: Any) -> None:
    item = {"type": "message", "role": "assistant", "content": content}
    told = [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_text.delta", "delta": "hi", **PLACE},
    ]
    (found,) = fold([list(map(Event.of, told))])["output"]
    assert found["content"][0]["text"] == "hi"


def test_the_citations_of_one_answer_are_in_no_other() -> None:
    place = {"output_index": 0, "content_index": 0}
    cited = {"type": "response.output_text.annotation.added", "annotation": {"url": "https://a.example"}, **place}
    fold([[Event.of(cited)]])
    (item,) = fold([[Event.of({"type": "response.output_text.delta", "delta": "hi", **place})]])["output"]
    assert item["content"] == [{"type": "output_text", "text": "hi", "annotations": []}]
