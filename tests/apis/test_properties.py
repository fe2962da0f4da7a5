"""Properties of whole paths: a history survives the way there and back, and chunks of the network change no byte."""

import json
from collections.abc import Callable
from itertools import groupby, pairwise
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from codexproxy.apis.base import Renderer
from codexproxy.apis.openai_completions import CompletionsApi
from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.compat.history.sanitize import sanitize_history
from codexproxy.compat.truncate.truncator import StreamTruncator
from codexproxy.protocol.aggregate import aggregate
from codexproxy.protocol.request import Caller
from codexproxy.upstream.chatgpt.sse import Decoder
from tests.apis.chat_reading import (
    API,
    added,
    created,
    custom_call,
    done,
    ended,
    fragment,
    function_call,
    message,
    read,
    reasoning,
    renderer_of,
    summary_delta,
    text_delta,
    turn_of,
)

Json = dict[str, Any]

# Texts with what is hard: quotes, line ends inside JSON, characters of several bytes, think tags within a text.
TEXT = st.text(st.sampled_from('ab"\\\n\u2028é😀 </>{}'), min_size=1, max_size=12)
NAME = st.sampled_from(["look", "list_files", "patch"])

# -- histories ------------------------------------------------------------------------

PARTS = st.lists(
    st.one_of(
        st.builds(lambda text: {"type": "text", "text": text}, TEXT),
        st.sampled_from(
            [
                {"type": "image_url", "image_url": {"url": "https://a.example/b.png", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://a.example/c.png"}},
                {"type": "file", "file": {"file_id": "file-1"}},
            ]
        ),
    ),
    min_size=1,
    max_size=3,
)


def plain(text: str) -> list[Json]:
    return [{"type": "text", "text": text}]


@st.composite
def rounds(draw: st.DrawFn) -> list[Json]:
    """Messages of one round: a question, maybe calls with their results, an answer."""
    said: list[Json] = [{"role": "user", "content": draw(PARTS)}]
    names = draw(st.lists(st.tuples(NAME, st.booleans()), max_size=3))
    if names:
        calls = [called(draw, f"call_{draw(st.uuids()).hex}", name, custom) for name, custom in names]
        talk = draw(st.none() | TEXT)
        said.append({"role": "assistant", "content": plain(talk) if talk else None, "tool_calls": calls})
        said += [{"role": "tool", "tool_call_id": call["id"], "content": draw(TEXT | PARTS)} for call in calls]
    if draw(st.booleans()):
        said.append({"role": "developer", "content": plain(draw(TEXT))})
    said.append({"role": "assistant", "content": [*plain(draw(TEXT)), *draw(REFUSALS)]})
    return said


REFUSALS = st.sampled_from([[], [{"type": "refusal", "refusal": "No."}]])


def called(draw: st.DrawFn, id: str, name: str, custom: bool) -> Json:
    if custom:
        return {"id": id, "type": "custom", "custom": {"name": name, "input": draw(TEXT)}}
    arguments = json.dumps({"a": draw(TEXT)})
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def as_messages(items: list[Json]) -> list[Json]:
    """Items as chat messages: an assistant's text and the calls behind it are one message."""
    messages: list[Json] = []
    for is_call, group in groupby(items, lambda item: item["type"] in ("function_call", "custom_tool_call")):
        found = list(group)
        if not is_call:
            messages += [as_message(item) for item in found]
            continue
        if not messages or messages[-1]["role"] != "assistant":
            messages.append({"role": "assistant", "content": None})
        messages[-1]["tool_calls"] = [as_call(item) for item in found]
    return messages


def as_message(item: Json) -> Json:
    if item["type"] == "message":
        return {"role": item["role"], "content": [as_part(part) for part in item["content"]]}
    output = item["output"]
    content = output if isinstance(output, str) else [as_part(part) for part in output]
    return {"role": "tool", "tool_call_id": item["call_id"], "content": content}


def as_part(part: Json) -> Json:
    if part["type"] == "input_image":
        image = {"url": part["image_url"], **({"detail": part["detail"]} if "detail" in part else {})}
        return {"type": "image_url", "image_url": image}
    if part["type"] == "input_file":
        return {"type": "file", "file": {"file_id": part["file_id"]}}
    return part if part["type"] == "refusal" else {"type": "text", "text": part["text"]}


def as_call(item: Json) -> Json:
    if item["type"] == "custom_tool_call":
        return {"id": item["call_id"], "type": "custom", "custom": {"name": item["name"], "input": item["input"]}}
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}


@settings(max_examples=200)
@given(st.lists(rounds(), min_size=1, max_size=4))
def test_a_history_survives_the_way_to_a_turn_and_back(history: list[list[Json]]):
    messages = [said for round in history for said in round]
    items = turn_of(messages=messages).body["input"]
    assert as_messages(items) == messages
    mended, notes = sanitize_history(items)
    # What begins like think text is taken for ours; nothing else needs a repair.
    assert [note for note in notes if not note.startswith(("think_text", "empty_message"))] == []
    assert len(mended) <= len(items)


# -- streams --------------------------------------------------------------------------


@st.composite
def item_events(draw: st.DrawFn, index: int) -> list[Json]:
    """The events of one output item, in pieces."""
    pieces = draw(st.lists(TEXT, max_size=4))
    whole, kind = "".join(pieces), draw(st.sampled_from(["message", "reasoning", "function", "custom"]))
    if kind == "message":
        phase = draw(st.sampled_from([{}, {"phase": "commentary"}, {"phase": "final_answer"}]))
        item, deltas = message(whole, **phase), [text_delta(piece, index) for piece in pieces]
        return [added({**item, "content": []}, index), *deltas, done(item, index)]
    if kind == "reasoning":
        deltas = [summary_delta(piece, index) for piece in pieces]
        return [added(reasoning(), index), *deltas, done(reasoning(whole), index)]
    name, id = draw(NAME), f"call_{index}"
    if kind == "custom":
        deltas = [fragment(piece, index, "custom_tool_call_input") for piece in pieces]
        return [added(custom_call(name, "", id), index), *deltas, done(custom_call(name, whole, id), index)]
    deltas = [fragment(piece, index) for piece in pieces]
    return [added(function_call(name, "", id), index), *deltas, done(function_call(name, whole, id), index)]


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """A whole stream as it comes over the network."""
    count = draw(st.integers(1, 4))
    events = [event for index in range(count) for event in draw(item_events(index))]
    last = draw(st.sampled_from(["response.completed", "response.incomplete", "response.failed", "none"]))
    tail = [] if last == "none" else [ended(last)]
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    frames = [
        f"event: {event['type']}{line_end}data: {json.dumps(event, ensure_ascii=draw(st.booleans()))}{line_end * 2}"
        for event in (created(), *events, *tail)
    ]
    return "".join(frames).encode()


SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
COMPLETIONS = CompletionsApi(clock=lambda: 1_767_225_600.9, identify=lambda: "cmpl-1")


def completions(**payload: Any) -> Renderer:
    turn = COMPLETIONS.parse({"model": "gpt-5.2", "prompt": "hi", "stream": True, **payload}, Caller())
    return COMPLETIONS.renderers(turn)[0]


def responses(**payload: Any) -> Renderer:
    api = ResponsesApi()
    return api.renderers(api.parse({"model": "gpt-5.2", "input": "hi", "stream": True, **payload}, Caller()))[0]


def one_of_two(**payload: Any) -> Renderer:
    return API.renderers(turn_of(stream=True, n=2, **payload))[1]


USAGE = {"stream_options": {"include_usage": True}}
RENDERERS: dict[str, Callable[[], Renderer]] = {
    **{
        f"chat {style}": lambda style=style: renderer_of(reasoning_compat=style)  # type: ignore[misc]
        for style in ("reasoning_content", "think", "o3", "none")
    },
    "chat with usage": lambda: renderer_of(**USAGE),
    "chat with functions": lambda: renderer_of(functions=[{"name": "look"}]),
    "chat for cursor": lambda: renderer_of(client="cursor"),
    "chat in a schema": lambda: renderer_of(response_format=SCHEMA),
    "chat in JSON": lambda: renderer_of(response_format={"type": "json_object"}),
    "chat, one of two": one_of_two,
    "completions": completions,
    "completions with echo": lambda: completions(echo=True, suffix="end", **USAGE),
    "responses": responses,
}


def written(renderer: Renderer, pieces: list[bytes], cutter: StreamTruncator | None) -> bytes:
    """What a client gets of a stream that comes in these pieces; a failure is told like in the web layer."""
    decoder, out = Decoder(), []
    for batch in (*map(decoder.feed, pieces), decoder.end()):
        if cutter is not None and cutter.ended:
            break
        out.append(renderer.render(cutter.feed(batch) if cutter else batch))
    return b"".join(out)


@settings(max_examples=400)
@given(
    stream=streams(),
    name=st.sampled_from(sorted(RENDERERS)),
    edges=st.lists(st.floats(0, 1), max_size=12),
    ending=st.none() | st.tuples(st.sampled_from([(), ("ab",), ("é😀", "b")]), st.none() | st.integers(1, 9)),
)
def test_however_the_network_cuts_a_stream_its_client_gets_the_same_bytes(
    stream: bytes, name: str, edges: list[float], ending: tuple[tuple[str, ...], int | None] | None
):
    cuts = sorted({0, len(stream), *(int(edge * len(stream)) for edge in edges)})
    pieces = [stream[start:end] for start, end in pairwise(cuts)]
    whole, cut = (outcome(RENDERERS[name], parts, ending) for parts in ([stream], pieces))
    assert cut == whole


def outcome(
    make: Callable[[], Renderer], pieces: list[bytes], ending: tuple[tuple[str, ...], int | None] | None
) -> bytes:
    cutter = StreamTruncator(*ending) if ending and any(ending) else None
    return written(make(), pieces, cutter)


@settings(max_examples=200)
@given(stream=streams(), style=st.sampled_from(["reasoning_content", "think", "none"]))
def test_a_streamed_answer_and_a_whole_one_say_the_same(stream: bytes, style: str):
    decoder = Decoder()
    events = decoder.feed(stream) + decoder.end()
    assume(events[-1].type in ("response.completed", "response.incomplete"))
    seen = read(renderer_of(reasoning_compat=style).render(events))
    told = API.complete(turn_of(reasoning_compat=style), [aggregate([events])])["choices"][0]
    assert told["finish_reason"] == seen.finish
    assert (told["message"]["content"] or "") == seen.content
    assert told["message"].get("reasoning_content", "") == seen.reasoning
    kinds = [(call["type"], call["id"]) for call in told["message"].get("tool_calls", [])]
    assert kinds == [(call["kind"], call["id"]) for _, call in sorted(seen.calls.items())]
