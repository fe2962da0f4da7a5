"""What the CLI says becomes events: all of it, in order, and nothing it did not say."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.errors import UpstreamFailed
from codexproxy.observability.redaction import Redactor
from codexproxy.protocol.aggregate import aggregate
from codexproxy.protocol.events import Batch, Event
from codexproxy.upstream.codex_cli.decode.app_events import AppDecoder
from codexproxy.upstream.codex_cli.decode.event_builder import Composer
from codexproxy.upstream.codex_cli.decode.exec_events import ExecDecoder, Lines
from codexproxy.upstream.codex_cli.decode.progress import Reporter
from tests.simulator.event_schemas import flaws

# One line of each kind (docs/reference/codex-cli.md#its-json-lines).
TRANSCRIPT = [
    {"type": "thread.started", "thread_id": "01a1fc0d"},
    {"type": "turn.started"},
    {"type": "error", "message": "Reconnecting... 2/5 (stream disconnected)"},
    {"type": "item.completed", "item": {"id": "item_0", "type": "reasoning", "text": "**Thinking** hard"}},
    {
        "type": "item.started",
        "item": {"id": "item_1", "type": "command_execution", "command": "ls", "aggregated_output": "", "exit_code": None},
    },
    {
        "type": "item.completed",
        "item": {"id": "item_1", "type": "command_execution", "command": "ls", "aggregated_output": "a\n", "exit_code": 0},
    },
    {
        "type": "item.completed",
        "item": {"id": "item_2", "type": "file_change", "changes": [{"path": "/w/a", "kind": "add"}], "status": "completed"},
    },
    {"type": "item.completed", "item": {"id": "item_3", "type": "web_search", "query": "cats", "action": {}}},
    {"type": "item.completed", "item": {"id": "item_4", "type": "error", "message": "Model metadata not found."}},
    {"type": "item.completed", "item": {"id": "item_5", "type": "mcp_tool_call", "server": "s", "tool": "t", "status": "completed"}},
    {"type": "item.started", "item": {"id": "item_6", "type": "todo_list", "items": [{"text": "one", "completed": False}]}},
    {"type": "item.updated", "item": {"id": "item_6", "type": "todo_list", "items": [{"text": "one", "completed": True}]}},
    {"type": "item.completed", "item": {"id": "item_6", "type": "todo_list", "items": [{"text": "one", "completed": True}]}},
    {"type": "item.completed", "item": {"id": "item_7", "type": "agent_message", "text": "I will look."}},
    {"type": "item.completed", "item": {"id": "item_8", "type": "agent_message", "text": "Done."}},
    {
        "type": "turn.completed",
        "usage": {
            "input_tokens": 10,
            "cached_input_tokens": 2,
            "cache_write_input_tokens": 0,
            "output_tokens": 5,
            "reasoning_output_tokens": 1,
        },
    },
]  # fmt: skip


def lines(*messages: Any) -> list[bytes]:
    return [json.dumps(message).encode() for message in messages]


def exec_decoder(**reporting: bool) -> ExecDecoder:
    composer = Composer({"model": "gpt-5.5"}, 1_800_000_000, "stem")
    return ExecDecoder(composer, Reporter(composer, **reporting), Redactor(["key-of-the-provider"]))


def app_decoder(**reporting: bool) -> AppDecoder:
    composer = Composer({"model": "gpt-5.5"}, 1_800_000_000, "stem")
    return AppDecoder("t1", 7, composer, Reporter(composer, **reporting), Redactor())


def said(method: str, **params: Any) -> dict[str, Any]:
    return {"method": method, "params": {"threadId": "t1", **params}}


def message_item(text: str, phase: str | None = None, key: str = "m1") -> dict[str, Any]:
    return {"type": "agentMessage", "id": key, "text": text, "phase": phase}


def texts(events: list[Event]) -> list[tuple[str | None, str]]:
    items = aggregate([events])["output"]
    return [(item.get("phase"), item["content"][0]["text"]) for item in items if item["type"] == "message"]


def summaries(events: list[Event]) -> list[str]:
    items = aggregate([events])["output"]
    return ["".join(part["text"] for part in item["summary"]) for item in items if item["type"] == "reasoning"]


def test_a_whole_run_without_its_activity() -> None:
    decoder = exec_decoder()
    events = decoder.feed(lines(*TRANSCRIPT))
    assert texts(events) == [("commentary", "I will look."), ("final_answer", "Done.")]
    assert summaries(events) == ["**Thinking** hard"]
    assert (decoder.progress.finished, decoder.progress.failure, decoder.skipped) == (True, None, 0)
    assert decoder.ended(0, "") is None
    assert events[-1].data["response"]["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 15,
    }


def test_a_whole_run_with_its_activity() -> None:
    events = exec_decoder(include_activity=True).feed(lines(*TRANSCRIPT))
    assert summaries(events) == [
        "**Thinking** hard",
        "$ ls\na\n[exit 0]",
        "add /w/a\n[completed]",
        "web search: cats\n",
        "tool s.t\n[completed]",
        "[x] one\n",
    ]
    noted = [item["x_codex"]["type"] for item in aggregate([events])["output"] if "x_codex" in item]
    assert noted == ["command_execution", "file_change", "web_search", "mcp_tool_call", "todo_list"]
    assert not any("call" in item["type"] for item in aggregate([events])["output"])


def test_a_command_is_told_when_it_begins() -> None:
    begun = exec_decoder(include_activity=True).feed(lines(TRANSCRIPT[4]))
    assert begun[-1].data["delta"] == "$ ls\n"


def test_long_output_of_a_command_is_cut_at_its_beginning() -> None:
    item = {
        "id": "1",
        "type": "command_execution",
        "command": "x",
        "aggregated_output": "a" * 9000 + "z",
        "exit_code": 1,
    }
    events = exec_decoder(include_activity=True).feed(lines({"type": "item.completed", "item": item}))
    [summary] = summaries(events)
    assert summary.startswith("$ x\n[5001 characters left out]\naaa") and summary.endswith("az\n[exit 1]")


def test_every_event_of_a_run_is_as_published() -> None:
    events = exec_decoder(include_activity=True).feed(lines(*TRANSCRIPT))
    assert [flaw for event in events for flaw in flaws(event.data)] == []
    assert [event.data["sequence_number"] for event in events] == list(range(len(events)))


def test_json_answers_stand_alone() -> None:
    assert texts(exec_decoder(json_answer=True).feed(lines(*TRANSCRIPT))) == [("final_answer", "Done.")]


def test_an_error_on_the_way_is_not_the_end() -> None:
    decoder = exec_decoder()
    assert decoder.feed(lines({"type": "error", "message": "Reconnecting... 1/5"}))[-1].type == "response.in_progress"
    assert decoder.progress.failure is None
    assert decoder.feed(lines(TRANSCRIPT[-1]))[-1].type == "response.completed"


def test_a_failed_turn_delivers_what_came_before_it() -> None:
    decoder = exec_decoder()
    failed = {"type": "turn.failed", "error": {"message": "unexpected status 500: key-of-the-provider"}}
    events = decoder.feed(lines(TRANSCRIPT[3], failed, TRANSCRIPT[-1]))
    assert summaries(events) == ["**Thinking** hard"]
    assert decoder.progress.failure is not None and decoder.progress.failure.code == "upstream_unavailable"
    assert "key-of-the-provider" not in decoder.progress.failure.message
    assert not decoder.progress.finished


def test_a_failure_without_words_has_those_of_the_error_before_it() -> None:
    decoder = exec_decoder()
    decoder.feed(lines({"type": "error", "message": "Quota exceeded."}, {"type": "turn.failed", "error": {}}))
    assert decoder.progress.failure is not None and decoder.progress.failure.code == "insufficient_quota"


def test_an_end_without_an_end_is_a_failure() -> None:
    silent, passing = exec_decoder(), exec_decoder()
    silent.feed(lines(TRANSCRIPT[0]))
    passing.feed(lines({"type": "error", "message": "exceeded retry limit, last status: 429 Too Many Requests"}))
    ended, limited = silent.ended(3, "panicked"), passing.ended(1, "")
    assert ended is not None and (ended.code, ended.retryable) == ("codex_cli_failed", True)
    assert "status 3" in ended.message and "panicked" in ended.message
    assert limited is not None and limited.status == 429


GARBAGE = [
    b"",
    b"npm warn: update available",
    b"\xff\xfe\x00",
    b"[1,2,3]",
    b"null",
    b"{",
    b'{"type":',
    b"42",
    b'"x"',
    b"{}",
]


@pytest.mark.parametrize("line", GARBAGE)
def test_garbage_between_the_lines_is_passed_over(line: bytes) -> None:
    decoder = exec_decoder()
    whole = [part for good in lines(*TRANSCRIPT) for part in (line, good)]
    assert texts(decoder.feed(whole)) == [("commentary", "I will look."), ("final_answer", "Done.")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KINDS = st.sampled_from(
    ["agent_message", "reasoning", "command_execution", "file_change", "todo_list", "web_search", "?"]
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"type": st.sampled_from([str(line["type"]) for line in TRANSCRIPT])},
            optional={
                "item": JSON
                | st.fixed_dictionaries({"type": KINDS}, optional={"id": JSON, "text": JSON, "changes": JSON}),
                "usage": JSON,
                "error": JSON,
                "message": JSON,
            },
        ),
        max_size=8,
    )
)
def test_no_line_breaks_the_decoder(messages: list[dict[str, Any]]) -> None:
    assert_sound(exec_decoder(include_activity=True).feed(lines(*messages)))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["item/started", "item/completed", "item/agentMessage/delta", "item/reasoning/summaryTextDelta",
                 "thread/tokenUsage/updated", "turn/completed", "turn/started", "warning", ""]
            ),
            JSON | st.dictionaries(st.sampled_from(["item", "itemId", "delta", "summaryIndex", "turn", "tokenUsage"]), JSON),
        ),
        max_size=8,
    )
)  # fmt: skip
def test_no_message_breaks_the_decoder(messages: list[tuple[str, Any]]) -> None:
    said_ = [{"method": method, "params": {**params, "threadId": "t1"} if isinstance(params, dict) else params} for method, params in messages]  # fmt: skip
    assert_sound(app_decoder(include_activity=True).feed(said_))


def assert_sound(events: Batch) -> None:
    """Numbered without a gap, begun once, ended at most once, each item opened before it is closed."""
    assert [event.data["sequence_number"] for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"][: len(kinds)]
    assert kinds.count("response.created") <= 1 and kinds.count("response.completed") <= 1
    opened: set[int] = set()
    for event in events:
        index = event.data.get("output_index")
        if event.type == "response.output_item.added":
            opened.add(index)
        elif index is not None:
            assert index in opened
            if event.type == "response.output_item.done":
                opened.discard(index)


def test_deltas_are_told_as_they_come() -> None:
    decoder = app_decoder()
    first = decoder.feed(
        [said("item/started", item=message_item("")), said("item/agentMessage/delta", itemId="m1", delta="Hel")]
    )
    assert first[-1].data["delta"] == "Hel"
    rest = decoder.feed(
        [said("item/agentMessage/delta", itemId="m1", delta="lo"), said("item/completed", item=message_item("Hello"))]
    )
    assert [event.type for event in rest] == [
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
    ]
    assert rest[-1].data["item"]["content"][0]["text"] == "Hello"


def test_what_was_streamed_is_completed_at_its_end() -> None:
    decoder = app_decoder()
    events = decoder.feed(
        [said("item/agentMessage/delta", itemId="m1", delta="Hel"), said("item/completed", item=message_item("Hello"))]
    )
    assert [event.data["delta"] for event in events if event.type.endswith("text.delta")] == ["Hel", "lo"]


def test_parts_of_a_summary_follow_each_other() -> None:
    decoder = app_decoder()
    item = {"type": "reasoning", "id": "r1", "summary": ["one", "two"]}
    events = decoder.feed(
        [
            said("item/reasoning/summaryTextDelta", itemId="r1", summaryIndex=0, delta="one"),
            said("item/reasoning/summaryTextDelta", itemId="r1", summaryIndex=1, delta="two"),
            said("item/completed", item=item),
        ]
    )
    steps = [(event.type.rpartition("_")[2], event.data.get("summary_index")) for event in events[2:]]
    part = ["part.added", "text.delta", "text.done", "part.done"]
    assert steps == [
        ("item.added", None),
        *((step, 0) for step in part),
        *((step, 1) for step in part),
        ("item.done", None),
    ]


def test_other_threads_are_none_of_ours() -> None:
    decoder = app_decoder()
    assert (
        decoder.feed(
            [{"method": "item/agentMessage/delta", "params": {"threadId": "t2", "itemId": "x", "delta": "no"}}]
        )
        == []
    )
    assert (
        decoder.feed([{"method": "turn/completed", "params": {"threadId": "t2", "turn": {"status": "completed"}}}])
        == []
    )
    assert not decoder.progress.finished


def test_json_answers_wait_until_it_is_known_which_message_is_the_answer() -> None:
    decoder = app_decoder(json_answer=True)
    events = decoder.feed(
        [
            said("item/agentMessage/delta", itemId="m1", delta="I will"),
            said("item/completed", item=message_item("I will look.")),
            said("item/started", item=message_item("", "commentary", "m2")),
            said("item/agentMessage/delta", itemId="m2", delta="Looking"),
            said("item/completed", item=message_item("Looking.", "commentary", "m2")),
            said("item/started", item=message_item("", "final_answer", "m3")),
            said("item/agentMessage/delta", itemId="m3", delta="{"),
            said("item/completed", item=message_item("{}", "final_answer", "m3")),
            said("turn/completed", turn={"status": "completed"}),
        ]
    )
    assert texts(events) == [("final_answer", "{}")]
    assert [event.data["delta"] for event in events if event.type == "response.output_text.delta"][-2:] == ["{", "}"]


@pytest.mark.parametrize(
    ("turn", "code"),
    [
        (
            {"status": "failed", "error": {"message": "x", "codexErrorInfo": "contextWindowExceeded"}},
            "context_length_exceeded",
        ),
        ({"status": "failed", "error": {"message": "x", "codexErrorInfo": "other"}}, "codex_cli_failed"),
        ({"status": "failed"}, "codex_cli_failed"),
        ({"status": "interrupted"}, "codex_cli_failed"),
        ({}, "codex_cli_failed"),
    ],
)
def test_a_turn_that_ends_in_any_other_way_failed(turn: dict[str, Any], code: str) -> None:
    decoder = app_decoder()
    decoder.feed([said("turn/completed", turn=turn)])
    assert decoder.progress.failure is not None and decoder.progress.failure.code == code
    assert decoder.ended(0, "") is decoder.progress.failure


def test_a_turn_that_is_refused_failed() -> None:
    decoder = app_decoder()
    decoder.feed([{"id": 7, "error": {"code": -32600, "message": "Not logged in"}}])
    assert decoder.progress.failure is not None and decoder.progress.failure.status == 401


@given(st.binary(max_size=200), st.lists(st.integers(1, 9), min_size=1, max_size=60))
def test_lines_are_the_same_however_they_come(data: bytes, sizes: list[int]) -> None:
    cutter, found, position = Lines(), [], 0
    for size in sizes * (len(data) + 1):
        found += cutter.feed(data[position : position + size])
        position += size
    expected = data.split(b"\n")
    assert found + cutter.end() == expected[:-1] + ([expected[-1]] if expected[-1] else [])


def test_a_line_without_an_end_is_given_up() -> None:
    cutter = Lines(longest=10)
    assert cutter.feed(b"12345\n1234567890") == [b"12345"]
    with pytest.raises(UpstreamFailed) as failure:
        cutter.feed(b"1")
    assert failure.value.code == "codex_cli_failed"


@pytest.mark.parametrize(
    "finish", [Composer.message_done, lambda composer, key, text: composer.reasoning_done(key, [text])]
)
def test_an_item_that_comes_whole_has_the_events_of_one_that_grows(finish: Callable[..., Batch]) -> None:
    whole, grown = Composer({}, 0, "s"), Composer({}, 0, "s")
    at_once = finish(whole, "k", "text")
    delta = (
        grown.message_delta("k", "text") if finish is Composer.message_done else grown.reasoning_delta("k", 0, "text")
    )
    assert [event.data for event in at_once] == [event.data for event in delta + finish(grown, "k", "text")]


def test_what_is_still_open_at_the_end_is_closed() -> None:
    composer = Composer({}, 0, "s")
    composer.message_delta("m", "half")
    composer.reasoning_delta("r", 0, "thought")
    events = composer.complete(None)
    assert [event.type for event in events].count("response.output_item.done") == 2
    output = events[-1].data["response"]["output"]
    assert (output[0]["content"][0]["text"], output[1]["summary"][0]["text"]) == ("half", "thought")


def test_a_cli_that_waits_for_a_network_is_not_waited_for() -> None:
    offline = "Reconnecting... waiting for network (Connection failed: error sending request)"
    by_lines, by_messages = exec_decoder(), app_decoder()
    for _ in range(2):
        assert by_lines.progress.failure is None and by_messages.progress.failure is None
        by_lines.feed(lines({"type": "error", "message": offline}))
        by_messages.feed([said("error", error={"message": offline}, willRetry=True)])
    for decoder in (by_lines, by_messages):
        assert decoder.progress.failure is not None and decoder.progress.failure.code == "upstream_unavailable"
