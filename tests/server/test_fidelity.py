"""Chat Completions over real HTTP: what upstream gets of a conversation, and what the caller gets of an answer.

The simulator refuses what the backend refuses, so that an answer shows that
the conversation was in order when it got there.
"""

import json
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import answer, call, custom_call, message, refusal, say, think, web_search
from tests.apis.chat_reading import Seen, assert_valid, read
from tests.service import Answer, Service

CHAT = "/v1/chat/completions"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
IMAGE = {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}
SENT_IMAGE = {"type": "input_image", "image_url": PIXEL, "detail": "low"}
USER = {"role": "user", "content": "hi"}
EMPTY = {"type": "object", "properties": {}}
LONG = "mcp__files__" + "x" * 70
ODD = "files.read/line"

both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": EMPTY}}


TOOLS = [tool("look"), tool("list")]


def post(service: Service, body: dict[str, Any]) -> Answer:
    told = service.post(CHAT, {"model": "gpt-5.2", "messages": [USER], **body})
    assert told.status == 200, told.body
    return told


def seen(told: Answer, index: int = 0) -> Seen:
    """One choice of an answer as its client has it in the end, each object held to the published schema."""
    if told.headers["content-type"].startswith("text/event-stream"):
        return read(told.body.rstrip(b"\n"), index)
    assert_valid("CreateChatCompletionResponse", told.json)
    choice = told.json["choices"][index]
    said = choice["message"]
    calls = {number: flat(one) for number, one in enumerate(said.get("tool_calls", []))}
    return Seen(
        content=said["content"] or "",
        refusal=said["refusal"] or "",
        reasoning=said.get("reasoning_content", ""),
        annotations=said.get("annotations", []),
        calls=calls,
        function_call=said.get("function_call"),
        finish=choice["finish_reason"],
        usage=told.json.get("usage"),
    )


def flat(one: dict[str, Any]) -> dict[str, Any]:
    kind = one["type"]
    written = one[kind]["input" if kind == "custom" else "arguments"]
    return {"id": one["id"], "kind": kind, "name": one[kind]["name"], "written": written}


# -- conversations ------------------------------------------------------------------


def sent(role: str, *parts: dict[str, Any] | str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    content = [{"type": kind, "text": part} if isinstance(part, str) else part for part in parts]
    return {"type": "message", "role": role, "content": content}


def called(id: str, name: str = "look", arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function_call", "call_id": id, "name": name, "arguments": arguments}


def returned(id: str, output: Any = "7") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id, "output": output}


def calling(*ids: str | None, name: str = "look") -> dict[str, Any]:
    calls = [{"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}} for id in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(id: str | None, content: Any = "7") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


NO_RESULT = "[no result: this tool call was never answered]"
LOST = "[Result of a tool call that is not in this conversation (call_x):]"

# Name -> messages after the first, the items that upstream gets of them, what is reported.
CONVERSATIONS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], str]] = {
    "a tool round trip": (
        [calling("call_a"), result("call_a"), USER],
        [called("call_a"), returned("call_a"), sent("user", "hi")],
        "",
    ),
    "a result in parts": (
        [calling("call_a"), result("call_a", [{"type": "text", "text": "7"}, IMAGE])],
        [called("call_a"), returned("call_a", [{"type": "input_text", "text": "7"}, SENT_IMAGE])],
        "",
    ),
    "a call without its result": (
        [calling("call_a", "call_b"), result("call_b"), USER],
        [called("call_a"), returned("call_a", NO_RESULT), called("call_b"), returned("call_b"), sent("user", "hi")],
        "orphan_call",
    ),
    "a result without its call": ([result("call_x")], [sent("user", LOST, "7")], "orphan_output"),
    "a system message on the way": (
        [{"role": "system", "content": "Be brief."}, USER],
        [sent("developer", "Be brief."), sent("user", "hi")],
        "messages:system_to_developer",
    ),
    "a developer message on the way": (
        [{"role": "developer", "content": "Be brief."}],
        [sent("developer", "Be brief.")],
        "",
    ),
    "our own think text": (
        [{"role": "assistant", "content": "<think>\nHm.\n</think>\n\nYes."}, USER],
        [sent("assistant", "Yes."), sent("user", "hi")],
        "think_text",
    ),
    "reasoning as a field": (
        [{"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}, USER],
        [sent("assistant", "Yes."), sent("user", "hi")],
        "messages:reasoning_left_out",
    ),
    "a picture": ([{"role": "user", "content": [IMAGE]}], [sent("user", SENT_IMAGE)], ""),
    "a picture by address": (
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]}],
        [sent("user", {"type": "input_image", "image_url": "https://a.example/b.png"})],
        "",
    ),
    "a file": (
        [{"role": "user", "content": [{"type": "file", "file": {"file_data": "JVBERi0=", "filename": "a.pdf"}}]}],
        [
            sent(
                "user",
                {"type": "input_file", "file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"},
            )
        ],
        "",
    ),
    "a refusal": (
        [{"role": "assistant", "content": None, "refusal": "I will not."}, USER],
        [sent("assistant", {"type": "refusal", "refusal": "I will not."}), sent("user", "hi")],
        "",
    ),
    "parts in the words of the other side": (
        [
            {"role": "assistant", "content": [{"type": "input_text", "text": "Yes."}]},
            {"role": "user", "content": [{"type": "output_text", "text": "So?"}]},
            {"role": "user", "content": [{"type": "refusal", "refusal": "No."}]},
        ],
        [sent("assistant", "Yes."), sent("user", "So?"), sent("user", "No.")],
        "part_kind=3",
    ),
    "a picture shown by the assistant": (
        [{"role": "assistant", "content": [{"type": "text", "text": "See:"}, IMAGE]}, USER],
        [
            sent("assistant", "See:"),
            sent("user", "[Shown by the assistant:]", SENT_IMAGE),
            sent("user", "hi"),
        ],
        "assistant_image",
    ),
    "a custom tool round trip": (
        [
            {
                "role": "assistant",
                "tool_calls": [{"id": "call_a", "type": "custom", "custom": {"name": "patch", "input": "*** a"}}],
            },
            result("call_a"),
        ],
        [
            {"type": "custom_tool_call", "call_id": "call_a", "name": "patch", "input": "*** a"},
            {"type": "custom_tool_call_output", "call_id": "call_a", "output": "7"},
        ],
        "",
    ),
    "old code with functions": (
        [
            {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}},
            {"role": "function", "name": "look", "content": "7"},
        ],
        [called("call_legacy_0"), returned("call_legacy_0")],
        "",
    ),
}


@pytest.mark.parametrize(("messages", "items", "reported"), CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def test_a_conversation_arrives_in_order_and_every_repair_is_reported(
    service: Service,
    sim: SimulatorClient,
    messages: list[dict[str, Any]],
    items: list[dict[str, Any]],
    reported: str,
) -> None:
    told = post(service, {"messages": [USER, *messages]})
    assert sim.last_turn()["json"]["input"] == [sent("user", "hi"), *items]
    assert told.headers.get("x-codexproxy-adapted", "") == reported


def test_leading_system_text_is_the_instructions_and_what_is_more_than_text_stays_in_place(
    service: Service, sim: SimulatorClient
) -> None:
    system = [
        {"role": "system", "content": "One."},
        {"role": "developer", "content": [{"type": "text", "text": "Two."}]},
    ]
    post(service, {"messages": [*system, USER]})
    assert sim.last_turn()["json"]["instructions"] == "One.\n\nTwo."
    shown = {"role": "system", "content": [{"type": "text", "text": "Our logo:"}, IMAGE]}
    told = post(service, {"messages": [*system, shown, USER]})
    body = sim.last_turn()["json"]
    assert body["instructions"] == "One.\n\nTwo."
    assert body["input"] == [sent("developer", "Our logo:", SENT_IMAGE), sent("user", "hi")]
    assert told.headers["x-codexproxy-adapted"] == "messages:system_to_developer"


def test_missing_call_ids_are_given_the_same_in_every_turn(service: Service, sim: SimulatorClient) -> None:
    messages = [USER, calling(None), result(None)]
    told = post(service, {"messages": messages})
    first = sim.last_turn()["json"]["input"]
    assert [item["type"] for item in first[1:]] == ["function_call", "function_call_output"]
    assert first[1]["call_id"] == first[2]["call_id"] != ""
    assert told.headers["x-codexproxy-adapted"] == "missing_call_id,call_id"
    post(service, {"messages": [*messages, {"role": "assistant", "content": "Seven."}, USER]})
    assert sim.last_turn()["json"]["input"][: len(first)] == first


@both_ways
def test_names_that_upstream_refuses_are_changed_there_and_restored_here(
    service: Service, sim: SimulatorClient, stream: bool
) -> None:
    choice = {"type": "function", "function": {"name": LONG}}
    ask = {"tools": [tool(LONG), tool(ODD)], "messages": [USER, calling("call_a", name=ODD), result("call_a")]}
    told = post(service, {**ask, "tool_choice": choice})
    body = sim.last_turn()["json"]
    names = [offered["name"] for offered in body["tools"]]
    assert all(len(name) <= 64 and name.replace("_", "").isalnum() for name in names)
    assert body["tool_choice"] == {"type": "function", "name": names[0]}
    assert body["input"][1]["name"] == names[1]
    assert told.headers["x-codexproxy-adapted"] == "tools:names_shortened"
    sim.script(answer(call(names[0]), call(names[1])))
    calls = seen(post(service, {**ask, "stream": stream})).calls
    assert [calls[0]["name"], calls[1]["name"]] == [LONG, ODD]


# -- answers ------------------------------------------------------------------------

CITATION = {"type": "url_citation", "url": "https://a.example/", "title": "A", "start_index": 0, "end_index": 5}


@both_ways
def test_text_then_calls_each_with_its_own_index(service: Service, sim: SimulatorClient, stream: bool) -> None:
    mixed = [call(name, {"at": name}, interleave=True) for name in ("look", "list", "look")]
    sim.script(answer(message("I look."), *mixed))
    had = seen(post(service, {"tools": TOOLS, "stream": stream}))
    assert had.content == "I look."
    assert [(one["name"], json.loads(one["written"])) for _, one in sorted(had.calls.items())] == [
        ("look", {"at": "look"}),
        ("list", {"at": "list"}),
        ("look", {"at": "look"}),
    ]
    assert len({one["id"] for one in had.calls.values()}) == 3
    assert had.finish == "tool_calls"


@both_ways
def test_arguments_come_as_they_are_written(service: Service, sim: SimulatorClient, stream: bool) -> None:
    sim.script(answer(call("look", fragments=['{"a"', ":", "1}"])))
    had = seen(post(service, {"tools": TOOLS, "stream": stream}))
    assert had.calls[0]["written"] == '{"a":1}'
    if stream:
        deltas = [chunk["choices"][0]["delta"] for chunk in had.chunks]
        pieces = [delta["tool_calls"][0]["function"]["arguments"] for delta in deltas if "tool_calls" in delta]
        assert pieces == ["", '{"a"', ":", "1}"]


@both_ways
def test_a_grammar_tools_input_comes_back_as_text(service: Service, sim: SimulatorClient, stream: bool) -> None:
    grammar = {"syntax": "lark", "definition": "start: /.+/"}
    patch = {"name": "patch", "description": "Patches.", "format": {"type": "grammar", "grammar": grammar}}
    sim.script(answer(custom_call("patch", "*** Begin\n+\u2028é\n")))
    had = seen(post(service, {"tools": [{"type": "custom", "custom": patch}], "stream": stream}))
    assert sim.last_turn()["json"]["tools"] == [{"type": "custom", **patch, "format": {"type": "grammar", **grammar}}]
    assert (had.calls[0]["kind"], had.calls[0]["name"]) == ("custom", "patch")
    assert (had.calls[0]["written"], had.finish) == ("*** Begin\n+\u2028é\n", "tool_calls")


@both_ways
def test_one_legacy_function_call(service: Service, sim: SimulatorClient, stream: bool) -> None:
    sim.script(answer(call("look", {"a": 1}), call("look", {"a": 2})))
    had = seen(post(service, {"functions": [{"name": "look", "parameters": EMPTY}], "stream": stream}))
    assert had.function_call is not None and had.function_call["name"] == "look"
    assert json.loads(had.function_call["arguments"]) == {"a": 1}
    assert (had.calls, had.finish) == ({}, "function_call")


@both_ways
def test_a_refusal_is_told_as_one(service: Service, sim: SimulatorClient, stream: bool) -> None:
    sim.script(answer(refusal("I will not.")))
    had = seen(post(service, {"stream": stream}))
    assert (had.content, had.refusal, had.finish) == ("", "I will not.", "stop")


@both_ways
@pytest.mark.parametrize("shown", ["reasoning_content", "think"])
def test_sources_are_annotations_and_the_search_is_no_call(
    service: Service, sim: SimulatorClient, stream: bool, shown: str
) -> None:
    sim.script(answer(think("Hm."), web_search("a"), message("Hello there.", annotations=[CITATION])))
    had = seen(post(service, {"web_search_options": {}, "reasoning_compat": shown, "stream": stream}))
    (cited,) = had.annotations
    place = cited["url_citation"]
    assert had.content[place["start_index"] : place["end_index"]] == "Hello"
    assert (place["url"], place["title"]) == ("https://a.example/", "A")
    assert (had.calls, had.finish) == ({}, "stop")


@both_ways
@pytest.mark.parametrize("shown", ["reasoning_content", "think", "o3", "none"])
@pytest.mark.parametrize(
    "form",
    [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}],
    ids=["json_object", "json_schema"],
)
def test_reasoning_and_commentary_never_get_into_json(
    service: Service, sim: SimulatorClient, stream: bool, shown: str, form: dict[str, Any]
) -> None:
    aside = message("Let me think.", phase="commentary")
    sim.script(answer(think("Hm."), aside, message('{"a"', ":1}", phase="final_answer")))
    had = seen(post(service, {"response_format": form, "reasoning_compat": shown, "stream": stream}))
    assert json.loads(had.content) == {"a": 1}


@both_ways
def test_commentary_and_the_final_answer_are_one_content_parted_by_a_blank_line(
    service: Service, sim: SimulatorClient, stream: bool
) -> None:
    sim.script(answer(message("Let me see.", phase="commentary"), message("It is 7.", phase="final_answer")))
    assert seen(post(service, {"stream": stream})).content == "Let me see.\n\nIt is 7."


@both_ways
@pytest.mark.parametrize(
    ("script", "finish"),
    [
        (say("yes"), "stop"),
        (say("ye", end="incomplete", reason="max_output_tokens"), "length"),
        (say("ye", end="incomplete", reason="content_filter"), "content_filter"),
    ],
)
def test_how_an_answer_ended(
    service: Service, sim: SimulatorClient, stream: bool, script: dict[str, Any], finish: str
) -> None:
    sim.script(script)
    assert seen(post(service, {"stream": stream})).finish == finish


# -- streams ------------------------------------------------------------------------


def test_usage_is_null_in_every_chunk_but_a_last_one_without_choices(service: Service, sim: SimulatorClient) -> None:
    sim.script(answer(think("Hm."), message("one ", "two"), call("look")))
    options = {"stream": True, "tools": TOOLS, "stream_options": {"include_usage": True}}
    *chunks, last = seen(post(service, options)).chunks
    assert all(chunk["usage"] is None and chunk["choices"] for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + last["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": False}}, {"stream_options": {}}])
def test_without_asking_for_it_no_chunk_has_the_key_usage(service: Service, options: dict[str, Any]) -> None:
    assert all("usage" not in chunk for chunk in seen(post(service, {"stream": True, **options})).chunks)


def test_a_chunk_begins_with_the_role_and_all_have_one_id(service: Service, sim: SimulatorClient) -> None:
    sim.script(answer(think("Hm."), message("one ", "two")))
    chunks = seen(post(service, {"stream": True})).chunks
    first = chunks[0]["choices"][0]["delta"]
    assert (first["role"], first["content"]) == ("assistant", "")
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert chunks[0]["id"].startswith("chatcmpl-codex-")


@both_ways
def test_several_answers_with_calls_keep_apart(service: Service, sim: SimulatorClient, stream: bool) -> None:
    script = answer(message("I look."), call("look", {"a": 1}), call("list"), pace_ms=2)
    for _ in range(3):
        sim.script(script)
    body = {"n": 3, "tools": TOOLS, "stream": stream}
    told = post(service, body | ({"stream_options": {"include_usage": True}} if stream else {}))
    single = seen(post(service, {"tools": TOOLS})).usage
    for index in range(3):
        had = seen(told, index)
        assert (had.content, had.finish) == ("I look.", "tool_calls")
        assert [one["name"] for _, one in sorted(had.calls.items())] == ["look", "list"]
        assert had.usage is not None and single is not None
        assert had.usage["prompt_tokens"] == 3 * single["prompt_tokens"]


# -- tools --------------------------------------------------------------------------

NAMED = {"type": "function", "function": {"name": "look"}}
SENT_NAMED = {"type": "function", "name": "look"}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("none", "none"),
        ("auto", "auto"),
        ("required", "required"),
        ("any", "required"),
        (NAMED, SENT_NAMED),
        (SENT_NAMED, SENT_NAMED),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}},
            {"type": "allowed_tools", "mode": "required", "tools": [SENT_NAMED]},
        ),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [SENT_NAMED]},
            {"type": "allowed_tools", "mode": "auto", "tools": [SENT_NAMED]},
        ),
    ],
)
def test_every_form_of_tool_choice(service: Service, sim: SimulatorClient, choice: Any, expected: Any) -> None:
    post(service, {"tools": TOOLS, "tool_choice": choice})
    assert sim.last_turn()["json"]["tool_choice"] == expected


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": TOOLS, "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice.function.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "sorcery"}]}, "tools[0].type"),
        ({"n": 0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": [7]}, "stop[0]"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [USER, {"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[1].content[0]"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(
    service: Service, sim: SimulatorClient, body: dict[str, Any], param: str
) -> None:
    told = service.post(CHAT, {"model": "gpt-5.2", "messages": [USER], **body})
    assert (told.status, told.json["error"]["param"]) == (400, param)
    assert sim.turns() == []


@pytest.mark.parametrize(
    ("asked", "expected", "ignored"),
    [("fast", "priority", None), ("priority", "priority", None), ("auto", None, None), ("default", None, None)]
    + [("flex", None, "service_tier")],
)
def test_service_tiers_by_their_names(
    service: Service, sim: SimulatorClient, asked: str, expected: str | None, ignored: str | None
) -> None:
    told = post(service, {"service_tier": asked})
    assert sim.last_turn()["json"].get("service_tier") == expected
    assert told.headers.get("x-codexproxy-ignored") == ignored
