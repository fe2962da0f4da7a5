"""Conversations made short by a summary, where upstream cannot do it."""

from typing import Any

import pytest

from codexproxy.apis.openai_responses.compaction import KEPT_TOKENS, summarised, summarising
from codexproxy.errors import UpstreamFailed
from codexproxy.protocol.request import Turn

SAID: dict[str, Any] = {"output": [{"type": "message", "content": [{"type": "output_text", "text": " notes "}]}]}


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def turn(*items: Any, **body: Any) -> Turn:
    return Turn("m", {"model": "m", "input": list(items), **body}, stop=("END",), max_tokens=5)


def test_the_summary_is_asked_for_behind_the_conversation_and_without_tools() -> None:
    asked = summarising(turn(user("a"), tools=[{"type": "web_search"}], tool_choice="auto", text={"verbosity": "low"}))
    assert set(asked.body) == {"model", "input"}
    assert asked.body["input"][0] == user("a") and asked.body["input"][1]["role"] == "user"
    assert (asked.stop, asked.max_tokens) == ((), None)


def test_user_messages_stay_and_the_rest_is_in_the_summary() -> None:
    items = [user("one"), {"type": "reasoning", "summary": []}, {"role": "user", "content": "two"}, "garbage"]
    compacted = summarised(turn(*items), {**SAID, "usage": {"total_tokens": 3}}, lambda: 7.5, "{}_1".format)
    *kept, summary = compacted["output"]
    assert kept == [items[0], items[2]]
    assert summary["id"] == "msg_1" and summary["content"][0]["text"].endswith("\n\nnotes")
    assert (compacted["id"], compacted["created_at"], compacted["usage"]) == ("resp_1", 7, {"total_tokens": 3})


def test_only_the_newest_messages_stay_when_there_are_too_many() -> None:
    long = "word " * (KEPT_TOKENS // 3)
    items = [user(f"{number} {long}") for number in range(9)]
    *kept, _ = summarised(turn(*items), SAID)["output"]
    assert 2 <= len(kept) < 9 and kept == items[-len(kept) :]
    (only,) = summarised(turn(user(long * 9)), SAID)["output"]
    assert only["content"][0]["text"].endswith("notes")


@pytest.mark.parametrize(
    "output", [None, [], [{"type": "reasoning"}], [{"type": "message", "content": [{"text": " "}]}]]
)
def test_no_summary_is_a_failure(output: Any) -> None:
    with pytest.raises(UpstreamFailed, match="no summary"):
        summarised(turn(user("a")), {"output": output})
