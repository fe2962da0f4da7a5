"""Events as chunks and as final objects: what each kind of answer looks like."""

import json
from typing import Any

import pytest

from codexproxy.apis.base import DONE
from codexproxy.apis.openai_chat import ChatApi
from codexproxy.apis.openai_chat.options import ChatRenderOptions
from codexproxy.compat.truncate.truncator import StreamTruncator
from codexproxy.errors import ProxyError, UpstreamFailed
from codexproxy.protocol.events import Batch, Event
from codexproxy.protocol.request import Caller
from tests.apis.chat_reading import (
    API,
    USAGE,
    added,
    completed,
    created,
    custom_call,
    done,
    ended,
    events,
    fragment,
    function_call,
    message,
    read,
    reasoning,
    renderer_of,
    streamed,
    summary_delta,
    text_delta,
    turn_of,
)


def said(text: str) -> Batch:
    return events(created(), added(message("")), text_delta(text), done(message(text)), ended())


def test_the_first_chunk_has_role_and_content_and_all_have_the_same_head():
    seen = streamed(said("hello"))
    assert seen.chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    heads = {(c["id"], c["object"], c["created"], c["model"]) for c in seen.chunks}
    assert heads == {("chatcmpl-codex-1", "chat.completion.chunk", 1767225600, "gpt-5.2")}
    assert (seen.content, seen.finish, seen.terminators) == ("hello", "stop", 1)


def test_ids_are_fresh_for_every_turn_and_begin_as_promised():
    payload = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    ids = {ChatRenderOptions.of(ChatApi().parse(payload, Caller())).id for _ in range(3)}
    assert len(ids) == 3
    assert all(id.startswith("chatcmpl-codex-") and len(id) == 51 for id in ids)


def test_without_include_usage_no_chunk_mentions_usage():
    assert not any("usage" in chunk for chunk in streamed(said("x")).chunks)


def test_with_include_usage_all_chunks_say_null_and_a_last_one_without_choices_says_it():
    seen = streamed(said("x"), stream_options={"include_usage": True})
    *before, last = seen.chunks
    assert all(chunk["usage"] is None for chunk in before)
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 12,
        "completion_tokens": 7,
        "total_tokens": 19,
        "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 3,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def test_an_answer_whose_usage_upstream_kept_to_itself_has_none():
    batch = events(text_delta("x"), ended(usage=None))
    assert streamed(batch, stream_options={"include_usage": True}).usage is None
    assert "usage" not in completed(batch)


# -- text in all the ways it comes ----------------------------------------------------

WAYS_OF_SAYING_HELLO: dict[str, list[dict[str, Any]]] = {
    "deltas": [added(message("")), text_delta("hel"), text_delta("lo"), done(message("hello"))],
    "empty deltas between": [text_delta(""), text_delta("hel"), text_delta(""), text_delta("lo")],
    "only the finished item": [done(message("hello"))],
    "half in deltas": [text_delta("he"), done(message("hello"))],
    "only the text's end": [
        {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "hello"}
    ],
    "deltas after the end": [text_delta("hello"), done(message("hello")), text_delta("!!")],
    "an end after the end": [text_delta("hello"), done(message("hello")), done(message("hello"))],
    "a gap in the places": [added(message(""), 7), text_delta("hello", 7), done(message("hello"), 7)],
    "no places at all": [
        {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "hel"},
        {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "lo"},
    ],
    "places in the items only": [
        added({**message(""), "id": "msg_1"}),
        {"type": "response.output_text.delta", "delta": "hel"},
        {"type": "response.output_text.delta", "delta": "lo"},
        done({**message("hello"), "id": "msg_1"}),
    ],
    "an item that was never announced": [
        {"type": "response.output_text.delta", "delta": "hel"},
        {"type": "response.output_text.delta", "delta": "lo"},
        {"type": "response.output_item.done", "item": {**message("hello"), "id": "msg_1"}},
    ],
    "two parts": [text_delta("hel", part=0), text_delta("lo", part=1)],
    "unknown events between": [text_delta("hel"), {"type": "response.from_the_future"}, text_delta("lo")],
    "deltas that are no text": [text_delta("hello"), {**text_delta(""), "delta": 5}, {**text_delta(""), "delta": None}],
}


@pytest.mark.parametrize("way", WAYS_OF_SAYING_HELLO)
@pytest.mark.parametrize("cap", [None, 50])
@pytest.mark.parametrize("output", [[], [{**message("hello"), "id": "msg_1"}]])
def test_text_is_delivered_once_however_it_comes(way: str, output: list[Any], cap: int | None):
    if way == "two parts":
        output = []
    batch = events(created(), *WAYS_OF_SAYING_HELLO[way], ended(output=output))
    if cap:
        batch = StreamTruncator(("goodbye",), cap).feed(batch)
    assert streamed(batch).content == "hello"
    assert completed(batch)["choices"][0]["message"]["content"] == "hello"


def test_two_messages_without_places_are_told_apart_by_their_ids():
    deltas = [{"type": "response.output_text.delta", "item_id": id, "delta": id} for id in ("msg_1", "msg_2")]
    assert streamed(events(*deltas, ended())).content == "msg_1\n\nmsg_2"


def test_text_that_only_the_final_object_carries_is_delivered():
    batch = events(created(), ended(output=[reasoning(), message("hello")]))
    assert streamed(batch).content == "hello"
    assert completed(batch)["choices"][0]["message"]["content"] == "hello"


def test_items_that_were_streamed_are_not_repeated_by_the_final_object():
    item = {**message("hello"), "id": "msg_1"}
    for output in ([item], [{**item, "id": "msg_9"}], [reasoning(), item]):
        batch = events(text_delta("hello", 3), done(item, 3), ended(output=output))
        assert streamed(batch).content == "hello"


def test_a_second_message_follows_after_a_blank_line():
    batch = events(
        added(message("", phase="commentary")),
        text_delta("Let me look."),
        done(message("Let me look.", phase="commentary")),
        added(message("", phase="final_answer"), 1),
        text_delta("It is 4.", 1),
        done(message("It is 4.", phase="final_answer"), 1),
        ended(),
    )
    assert streamed(batch).content == "Let me look.\n\nIt is 4."
    assert completed(batch)["choices"][0]["message"]["content"] == "Let me look.\n\nIt is 4."


def test_in_json_mode_commentary_is_told_as_reasoning():
    batch = events(
        added(message("", phase="commentary")),
        text_delta("Let me look."),
        done(message("Let me look.", phase="commentary")),
        added(message("", phase="final_answer"), 1),
        text_delta("{}", 1),
        ended(),
    )
    seen = streamed(batch, response_format={"type": "json_object"})
    assert (seen.content, seen.reasoning) == ("{}", "Let me look.")
    hidden = streamed(batch, response_format={"type": "json_object"}, reasoning_compat="none")
    assert (hidden.content, hidden.reasoning) == ("{}", "")


def test_lone_surrogates_and_all_of_unicode_survive():
    text = "\ud83d x \U0001f600 \u2028 \x00"
    assert streamed(events(created(), text_delta(text), ended())).content == text


# -- calls ------------------------------------------------------------------------------

WAYS_OF_CALLING: dict[str, list[dict[str, Any]]] = {
    "fragments": [
        added(function_call("look")),
        fragment('{"a"'),
        fragment(":1}"),
        {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": '{"a":1}'},
        done(function_call("look", '{"a":1}')),
    ],
    "only the finished item": [done(function_call("look", '{"a":1}'))],
    "arguments only in the item": [added(function_call("look")), done(function_call("look", '{"a":1}'))],
    "half in fragments": [added(function_call("look")), fragment('{"a'), done(function_call("look", '{"a":1}'))],
    "fragments after the end": [done(function_call("look", '{"a":1}')), fragment("!!")],
    "no places at all": [
        {"type": "response.output_item.added", "item": function_call("look")},
        {"type": "response.function_call_arguments.delta", "delta": '{"a"'},
        {"type": "response.function_call_arguments.delta", "delta": ":1}"},
        {"type": "response.output_item.done", "item": function_call("look", '{"a":1}')},
    ],
    "fragments before the item": [fragment('{"a"'), added(function_call("look")), fragment(":1}")],
    "fragments before the name": [
        added({"type": "function_call", "arguments": ""}),
        fragment('{"a'),
        done(function_call("look", '{"a":1}')),
    ],
}


WAYS_OF_CALLING_WITHOUT_TEXT: dict[str, list[dict[str, Any]]] = {
    "in the item": [done({**function_call("look"), "arguments": {"a": 1}})],
    "in the item that was announced": [
        added(function_call("look")),
        done({**function_call("look"), "arguments": {"a": 1}}),
    ],
    "at the arguments' end": [
        added(function_call("look")),
        {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": {"a": 1}},
    ],
    "after their pieces": [
        added(function_call("look")),
        fragment('{"a":1}'),
        done({**function_call("look"), "arguments": {"a": 1, "b": 22222}}),
    ],
    "in the final object": [],
}


@pytest.mark.parametrize("way", WAYS_OF_CALLING_WITHOUT_TEXT)
@pytest.mark.parametrize("cap", [{}, {"max_tokens": 500}])
def test_arguments_that_are_no_text_are_told_as_text(way: str, cap: dict[str, Any]):
    output = [] if WAYS_OF_CALLING_WITHOUT_TEXT[way] else [{**function_call("look"), "arguments": {"a": 1}}]
    batch = events(created(), *WAYS_OF_CALLING_WITHOUT_TEXT[way], ended(output=output))
    if cap:
        batch = StreamTruncator((), 500).feed(batch)
    assert streamed(batch).calls == {0: {"id": "call_1", "kind": "function", "name": "look", "written": '{"a":1}'}}
    if way != "after their pieces":
        (call,) = completed(batch)["choices"][0]["message"]["tool_calls"]
        assert call["function"]["arguments"] == '{"a":1}'


WAYS_OF_WRITING_NOTHING: dict[str, list[dict[str, Any]]] = {
    "in the item": [done(function_call("look"))],
    "at the arguments' end": [
        added(function_call("look")),
        fragment(""),
        {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": ""},
        done(function_call("look")),
    ],
    "in the final object": [added(function_call("look"))],
}


@pytest.mark.parametrize("way", WAYS_OF_WRITING_NOTHING)
def test_a_call_without_arguments_has_an_empty_object_of_them(way: str):
    batch = events(created(), *WAYS_OF_WRITING_NOTHING[way], ended(output=[function_call("look")]))
    assert streamed(batch).calls[0]["written"] == "{}"
    (call,) = completed(batch)["choices"][0]["message"]["tool_calls"]
    assert call["function"]["arguments"] == "{}"
    legacy = streamed(batch, functions=[{"name": "look"}])
    assert legacy.function_call == {"name": "look", "arguments": "{}"}


def test_a_call_that_was_cut_and_an_empty_input_stay_as_they_are():
    cut = {**function_call("look"), "status": "incomplete"}
    batch = events(added(function_call("look")), done(cut), done(custom_call("patch"), 1), ended("response.incomplete"))
    assert [call["written"] for call in streamed(batch).calls.values()] == ["", ""]


@pytest.mark.parametrize("way", WAYS_OF_CALLING)
def test_a_call_has_one_header_and_all_its_arguments_once(way: str):
    seen = streamed(events(created(), *WAYS_OF_CALLING[way], ended()))
    assert seen.calls == {0: {"id": "call_1", "kind": "function", "name": "look", "written": '{"a":1}'}}
    assert seen.finish == "tool_calls"


def test_parallel_calls_have_places_of_their_own_whatever_stands_between():
    batch = events(
        done(reasoning("thinking")),
        added(function_call("look", id="a"), 2),
        added(function_call("find", id="b"), 5),
        fragment("1", 5),
        fragment("2", 2),
        fragment("3", 5),
        done(function_call("look", "2", "a"), 2),
        done(function_call("find", "13", "b"), 5),
        ended(),
    )
    seen = streamed(batch)
    assert [(index, call["name"], call["written"]) for index, call in seen.calls.items()] == [
        (0, "look", "2"),
        (1, "find", "13"),
    ]
    told = completed(batch)["choices"][0]["message"]["tool_calls"]
    assert [(call["id"], call["function"]["arguments"]) for call in told] == [("a", "2"), ("b", "13")]


def test_text_before_a_call_stays_before_it():
    batch = events(text_delta("Looking."), done(message("Looking.")), done(function_call("look", "{}"), 1), ended())
    seen = streamed(batch)
    assert (seen.content, seen.calls[0]["name"], seen.finish) == ("Looking.", "look", "tool_calls")


def test_a_custom_call_is_told_in_its_own_words_and_in_chunks_without_a_type():
    batch = events(
        added(custom_call("patch")),
        fragment("*** Be", kind="custom_tool_call_input"),
        fragment("gin", kind="custom_tool_call_input"),
        done(custom_call("patch", "*** Begin")),
        ended(),
    )
    assert streamed(batch).calls[0] == {"id": "call_1", "kind": "custom", "name": "patch", "written": "*** Begin"}
    (call,) = completed(batch)["choices"][0]["message"]["tool_calls"]
    assert call == {"id": "call_1", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}


def test_cursor_gets_custom_calls_in_a_function_envelope():
    batch = events(done(custom_call("ApplyPatch", "*** Begin")), ended())
    assert streamed(batch, "cursor").calls[0]["kind"] == "function"
    (call,) = completed(batch, "cursor")["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "ApplyPatch", "arguments": "*** Begin"}


def test_openais_own_libraries_are_told_that_a_call_is_a_custom_one():
    batch = events(added(custom_call("patch")), done(custom_call("patch", "*** Begin")), ended())
    (_, header, *fragments, _) = [
        json.loads(line[6:])["choices"][0]["delta"]
        for line in renderer_of("openai-sdk").render(batch).decode().split("\n\n")
        if line.startswith("data: {")
    ]
    (call,) = header["tool_calls"]
    assert call == {"index": 0, "id": "call_1", "type": "custom", "custom": {"name": "patch", "input": ""}}
    assert [piece["tool_calls"] for piece in fragments] == [[{"index": 0, "custom": {"input": "*** Begin"}}]]


@pytest.mark.parametrize("client", ["cline", "roo-code"])
@pytest.mark.parametrize("style", ["reasoning_content", "o3", "think", "none"])
def test_clients_that_need_it_have_content_in_every_delta(client: str, style: str):
    refusal = {"type": "response.refusal.delta", "delta": "No.", "output_index": 3, "content_index": 0}
    source = {"type": "response.output_text.annotation.added", "output_index": 1, "content_index": 0}
    batch = events(
        *THOUGHT[:-1],
        {**source, "annotation": citation(0, 1)},
        added(function_call("look"), 2),
        fragment("{}", 2),
        refusal,
        ended(),
    )
    deltas = [chunk["choices"][0]["delta"] for chunk in streamed(batch, client, reasoning_compat=style).chunks]
    assert len(deltas) > 6
    assert all(isinstance(delta.get("content"), str) for delta in deltas)
    assert streamed(batch, client, functions=[{"name": "look"}]).function_call == {"name": "look", "arguments": "{}"}


@pytest.mark.parametrize(
    ("tier", "told"), [("priority", "priority"), ("default", "default"), ("new", None), ({}, None)]
)
def test_the_tier_that_upstream_tells_at_the_end_stands_in_the_last_chunks(tier: Any, told: str | None):
    seen = streamed(events(text_delta("x"), ended(service_tier=tier)), stream_options={"include_usage": True})
    assert [chunk.get("service_tier") for chunk in seen.chunks[-2:]] == [told, told]
    assert not any("service_tier" in chunk for chunk in seen.chunks[:-2])


def test_legacy_functions_are_answered_with_one_function_call():
    batch = events(done(function_call("look", "{}")), done(function_call("find", "{}", "b"), 1), ended())
    functions = [{"name": "look"}, {"name": "find"}]
    seen = streamed(batch, functions=functions)
    assert (seen.function_call, seen.calls, seen.finish) == ({"name": "look", "arguments": "{}"}, {}, "function_call")
    choice = completed(batch, functions=functions)["choices"][0]
    assert choice["message"]["function_call"] == {"name": "look", "arguments": "{}"}
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "function_call"


def test_shortened_names_are_given_back():
    long = "mcp.server/" + "very_long_" * 10
    turn = turn_of(stream=True, tools=[{"type": "function", "function": {"name": long}}])
    (sent,) = [tool["name"] for tool in turn.body["tools"]]
    assert len(sent) <= 64
    (renderer,) = API.renderers(turn)
    assert read(renderer.render(events(done(function_call(sent, "{}")), ended()))).calls[0]["name"] == long


@pytest.mark.parametrize("kind", ["web_search_call", "image_generation_call", "mcp_call", "local_shell_call", None])
@pytest.mark.parametrize("finished", [True, False])
def test_hosted_calls_never_become_the_clients(kind: str | None, finished: bool):
    item = {"type": kind, "id": "x_1", "name": "search", "call_id": "call_9", "arguments": "{}"}
    seen = streamed(events(added(item), *([done(item)] if finished else []), ended(usage=None)))
    assert (seen.calls, seen.content, seen.finish, seen.terminators) == ({}, "", "stop", 1)


# -- refusals, sources, ends --------------------------------------------------------------


def test_a_refusal_has_a_field_of_its_own():
    place = {"output_index": 0, "content_index": 0}
    part = {"type": "refusal", "refusal": "I can't."}
    whole = {"type": "message", "role": "assistant", "content": [part]}
    deltas = [{"type": "response.refusal.delta", "delta": word, **place} for word in ("I ", "can't.")]
    for batch in (events(*deltas, done(whole), ended()), events(done(whole), ended())):
        seen = streamed(batch)
        assert (seen.refusal, seen.content, seen.finish) == ("I can't.", "", "stop")
        told = completed(batch)["choices"][0]["message"]
        assert (told["refusal"], told["content"]) == ("I can't.", None)


def citation(start: int, end: int) -> dict[str, Any]:
    return {"type": "url_citation", "url": "https://e.org", "title": "E", "start_index": start, "end_index": end}


def test_sources_point_into_the_whole_content_and_come_once():
    first, second = message("One."), message("Two: E.")
    second["content"][0]["annotations"] = [citation(5, 6)]
    batch = events(
        text_delta("One."),
        done(first),
        text_delta("Two: E.", 1),
        {
            "type": "response.output_text.annotation.added",
            "output_index": 1,
            "content_index": 0,
            "annotation": citation(5, 6),
        },
        done(second, 1),
        ended(),
    )
    for annotations, content in (
        (streamed(batch).annotations, streamed(batch).content),
        (completed(batch)["choices"][0]["message"]["annotations"], "One.\n\nTwo: E."),
    ):
        (source,) = annotations
        place = source["url_citation"]
        assert content[place["start_index"] : place["end_index"]] == "E"


def test_sources_that_chat_has_no_words_for_are_left_out():
    whole = message("x")
    whole["content"][0]["annotations"] = [{"type": "file_citation", "file_id": "f"}, {"type": "url_citation"}, "?"]
    assert "annotations" not in completed(events(done(whole), ended()))["choices"][0]["message"]


@pytest.mark.parametrize(
    ("event", "finish"),
    [
        (ended("response.completed"), "stop"),
        (ended("response.done"), "stop"),
        (ended("response.incomplete", incomplete_details={"reason": "max_output_tokens"}), "length"),
        (ended("response.incomplete", incomplete_details={"reason": "content_filter"}), "content_filter"),
        (ended("response.incomplete"), "length"),
        (ended("response.completed", status="incomplete"), "length"),
    ],
)
def test_how_an_answer_ended_is_told(event: dict[str, Any], finish: str):
    assert streamed(events(text_delta("x"), event)).finish == finish


def test_a_cut_beats_a_call():
    batch = events(done(function_call("look", "{")), ended("response.incomplete"))
    assert streamed(batch).finish == completed(batch)["choices"][0]["finish_reason"] == "length"


def test_an_answer_cut_before_its_first_word_is_an_answer():
    seen = streamed(events(created(), ended("response.incomplete", usage=None)))
    assert (seen.content, seen.finish, seen.terminators) == ("", "length", 1)


def test_an_answer_that_holds_nothing_is_a_failure():
    batch = events(created(), ended(usage=None))
    with pytest.raises(UpstreamFailed) as failure:
        renderer_of().render(batch)
    assert (failure.value.code, failure.value.status, failure.value.retryable) == ("empty_response", 502, True)
    with pytest.raises(UpstreamFailed):
        completed(batch)


def spent(tokens: int, thought: int | None) -> dict[str, Any]:
    details = {} if thought is None else {"output_tokens_details": {"reasoning_tokens": thought}}
    return {"input_tokens": 3, "output_tokens": tokens, "total_tokens": 3 + tokens, **details}


@pytest.mark.parametrize("thought", [None, 0, 6])
def test_words_that_took_tokens_and_never_came_are_a_failure(thought: int | None):
    batch = events(created(), ended(usage=spent(7, thought)))
    with pytest.raises(UpstreamFailed) as failure:
        renderer_of().render(batch)
    assert failure.value.code == "empty_response"
    with pytest.raises(UpstreamFailed):
        completed(batch)


@pytest.mark.parametrize("style", ["reasoning_content", "none"])
@pytest.mark.parametrize("items", [[], [done(reasoning())], [done(message(""))]])
def test_a_turn_that_was_all_thought_is_an_answer_without_words(items: list[dict[str, Any]], style: str):
    batch = events(created(), *items, ended(usage=spent(7, 7)))
    seen = streamed(batch, reasoning_compat=style, stream_options={"include_usage": True})
    assert (seen.content, seen.finish, seen.terminators) == ("", "stop", 1)
    assert seen.usage is not None and seen.usage["completion_tokens_details"]["reasoning_tokens"] == 7
    told = completed(batch, reasoning_compat=style)["choices"][0]
    assert (told["message"]["content"], told["finish_reason"]) == ("", "stop")


FAILURES = [
    {"type": "response.failed", "response": {"error": {"code": "server_is_overloaded", "message": "Busy."}}},
    {"type": "error", "error": {"code": "server_is_overloaded", "message": "Busy."}},
    {"type": "error", "code": "server_is_overloaded", "message": "Busy."},
    {
        "type": "response.completed",
        "response": {"status": "failed", "error": {"code": "server_is_overloaded", "message": "Busy."}},
    },
]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_in_mid_stream_is_one_error_and_the_terminator(failure: dict[str, Any]):
    sut = renderer_of()
    written = sut.render(events(text_delta("x"), failure))
    assert sut.ended
    assert sut.render(events(text_delta("y"), ended())) == sut.fail(ProxyError("again")) == b""
    seen = read(written)
    assert seen.error == {"message": "Busy.", "type": "upstream_error", "param": None, "code": "overloaded"}
    assert (seen.content, seen.finish, seen.terminators) == ("x", None, 1)


def test_a_failure_of_ours_looks_the_same():
    sut = renderer_of()
    sut.render(events(text_delta("x")))
    seen = read(sut.fail(UpstreamFailed("Gone.", code="upstream_truncated")))
    assert seen.error is not None and seen.error["code"] == "upstream_truncated"
    assert seen.terminators == 1


def test_garbage_in_an_event_is_a_failure_of_upstreams():
    with pytest.raises(UpstreamFailed):
        renderer_of().render([Event("response.output_text.delta", b"", b"{nonsense")])


ODD: list[dict[str, Any]] = [
    {"type": "response.output_item.done"},
    {"type": "response.output_item.done", "item": 5},
    {"type": "response.output_item.added", "item": []},
    {"type": "response.output_item.done", "item": {"type": "message", "content": "x"}},
    {"type": "response.output_item.done", "item": {"type": "message", "content": [1, {"type": "output_text"}]}},
    {"type": "response.output_item.done", "item": {"type": "reasoning", "summary": None, "content": None}},
    {"type": "response.output_item.done", "item": {"type": "function_call"}},
    {"type": "response.output_text.annotation.added"},
    {"type": "response.function_call_arguments.delta"},
    {"type": "response.function_call_arguments.done"},
    {"type": "response.output_text.done"},
    {"type": "response.completed", "response": {"output": [None, 7], "usage": 5}},
    {"type": "response.incomplete", "response": {"incomplete_details": "x"}},
    {"type": "response.completed"},
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: str(odd)[:60])
def test_events_of_an_odd_shape_do_no_harm(odd: dict[str, Any]):
    seen = streamed(events(text_delta("x", 3), odd, ended()))
    assert (seen.content, seen.terminators) == ("x", 1)


# -- several answers, one stream ----------------------------------------------------------


def test_answers_of_one_turn_share_a_stream_whose_end_the_last_writes():
    turn = turn_of(n=2, stream=True, stream_options={"include_usage": True})
    first, second = API.renderers(turn)
    written = second.render(events(text_delta("b"), ended()))
    assert DONE not in written and not first.ended
    written += first.render(events(text_delta("a"), ended()))
    assert [read(written, index).content for index in (0, 1)] == ["a", "b"]
    assert read(written).usage == {
        **(read(written).usage or {}),
        "prompt_tokens": 2 * USAGE["input_tokens"],
        "completion_tokens": 2 * USAGE["output_tokens"],
    }
    assert read(written).terminators == 1
    assert len({chunk["id"] for chunk in read(written).chunks}) == 1


def test_one_failed_answer_ends_the_stream_for_all():
    first, second = API.renderers(turn_of(n=2, stream=True))
    written = first.render(events(text_delta("a"), FAILURES[0]))
    written += second.render(events(text_delta("b"), ended()))
    assert read(written).terminators == 1


def test_several_answers_are_several_choices_of_one_object():
    responses = [ended(output=[message(text)])["response"] for text in ("a", "b")]
    told = API.complete(turn_of(n=2), responses)
    assert [(choice["index"], choice["message"]["content"]) for choice in told["choices"]] == [(0, "a"), (1, "b")]
    assert told["usage"]["total_tokens"] == 2 * USAGE["total_tokens"]


def test_the_final_object_has_the_callers_metadata_and_upstreams_tier():
    told = completed(said("x")[:-1] + events(ended(service_tier="priority")), metadata={"job": "7"})
    assert (told["metadata"], told["service_tier"]) == ({"job": "7"}, "priority")
    assert "service_tier" not in completed(events(text_delta("x"), ended(service_tier="unheard-of")))


# -- reasoning ----------------------------------------------------------------------------

THOUGHT = [
    added(reasoning()),
    summary_delta("**Plan**", part=0),
    summary_delta("Look.", part=1),
    done(reasoning("**Plan**", "Look.")),
    text_delta("Four", 1),
    text_delta(".", 1),
    done(message("Four."), 1),
    ended(),
]
BLOCK = "<think>\n**Plan**\n\nLook.\n</think>\n\n"
STYLES = {
    "reasoning_content": ("Four.", "**Plan**\n\nLook."),
    "think": (BLOCK + "Four.", ""),
    "think-tags": (BLOCK + "Four.", ""),
    "none": ("Four.", ""),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("deltas", [True, False])
def test_reasoning_in_every_style(style: str, deltas: bool):
    kept = [event for event in THOUGHT if deltas or not event["type"].endswith(".delta")]
    batch = events(created(), *kept)
    seen = streamed(batch, reasoning_compat=style)
    assert (seen.content, seen.reasoning) == STYLES[style]
    told = completed(batch, reasoning_compat=style)["choices"][0]["message"]
    assert (told["content"], told.get("reasoning_content", "")) == STYLES[style]


def test_reasoning_in_the_style_o3_is_an_object():
    batch = events(*THOUGHT)
    pieces = [
        chunk["choices"][0]["delta"]["reasoning"]["content"][0]["text"]
        for chunk in streamed(batch, reasoning_compat="o3").chunks
        if "reasoning" in chunk["choices"][0]["delta"]
    ]
    assert "".join(pieces) == "**Plan**\n\nLook."
    told = completed(batch, reasoning_compat="o3")["choices"][0]["message"]
    assert told["reasoning"] == {"content": [{"type": "text", "text": "**Plan**\n\nLook."}]}


def test_raw_reasoning_is_told_like_a_summary():
    delta = {"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0, "delta": "Hm."}
    assert streamed(events(delta, text_delta("x", 1), ended())).reasoning == "Hm."


@pytest.mark.parametrize("format", [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"schema": {}}}])
def test_think_tags_never_enter_json(format: dict[str, Any]):
    batch = events(*THOUGHT[:4], text_delta("{}", 1), ended())
    seen = streamed(batch, reasoning_compat="think", response_format=format)
    assert (seen.content, seen.reasoning) == ("{}", "**Plan**\n\nLook.")


def test_a_think_block_is_closed_before_a_call_and_at_the_end():
    call = events(*THOUGHT[:4], done(function_call("look", "{}"), 1), ended())
    assert streamed(call, reasoning_compat="think").content == BLOCK
    cut = events(*THOUGHT[:4], ended("response.incomplete"))
    assert streamed(cut, reasoning_compat="think").content == BLOCK
    assert completed(cut, reasoning_compat="think")["choices"][0]["message"]["content"] == BLOCK


def test_reasoning_that_nobody_wants_is_not_even_parsed():
    unreadable = Event("response.reasoning_summary_text.delta", b"", b"{nonsense")
    seen = read(renderer_of(reasoning_compat="none").render([unreadable, *events(text_delta("x"), ended())]))
    assert seen.content == "x"
