"""What is remembered of a stream so that its answer can be told again."""

from typing import Any

import pytest

from codexproxy.errors import UpstreamFailed
from codexproxy.protocol.events import Event
from codexproxy.protocol.response_recorder import MOST_DELTAS, Minutes
from tests.apis.chat_reading import added, done, ended, events, fragment, function_call, message, text_delta


def noted(*told: dict[str, Any]) -> list[Any]:
    minutes = Minutes()
    for event in events(*told, ended()):
        minutes.note([event])
    output: list[Any] = minutes.response()["output"]
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
    minutes = Minutes()
    minutes.note(events(added(message("")), *[text_delta("x")] * 500, done(message("x" * 500))))
    assert len(minutes._kept + minutes._fresh) == 2


def test_more_deltas_than_can_be_remembered_leave_the_item_to_its_end() -> None:
    many = [text_delta("x")] * (MOST_DELTAS + 1)
    assert noted(added(message("")), *many, done(message("x"))) == [message("x")]
    assert noted(added(message("")), *many) == [message("")]


def test_what_is_no_json_is_told_only_to_who_asks_for_the_answer() -> None:
    minutes = Minutes()
    minutes.note([Event("response.output_item.done", b"", b"{nonsense")])
    with pytest.raises(UpstreamFailed):
        minutes.response()
