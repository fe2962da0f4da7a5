"""Streams whose final event does not say what they said."""

from typing import Any

import pytest

from codexproxy.turns.events import Event
from codexproxy.turns.fold import fold

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
