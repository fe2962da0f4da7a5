"""Legacy text completions: prompts, choices, chunks."""

import json
from typing import Any

import pytest

from codexproxy.apis.base import DONE
from codexproxy.apis.openai_chat.fields import EMULATED, IGNORED, MAPPED
from codexproxy.apis.openai_completions import CONTINUE, FIELDS, FILL, CompletionsApi
from codexproxy.errors import InvalidRequest, UpstreamFailed
from codexproxy.protocol.aggregate import aggregate
from codexproxy.protocol.events import Batch
from codexproxy.protocol.request import Body, Caller, Turn
from tests.apis.chat_reading import (
    USAGE,
    assert_valid,
    created,
    done,
    ended,
    events,
    message,
    reasoning,
    summary_delta,
    text_delta,
)
from tests.apis.recorded import Recording, each_recording
from tests.data import RECORDINGS

API = CompletionsApi(clock=lambda: 1_767_225_600, identify=lambda: "cmpl-codex-1")


def turn_of(**payload: Any) -> Turn:
    return API.parse({"model": "gpt-5.2", "prompt": "Once", **payload}, Caller())


def said(text: str) -> Batch:
    return events(created(), done(reasoning("Hm.")), text_delta(text, 1), done(message(text), 1), ended())


def read(stream: bytes, index: int = 0) -> dict[str, Any]:
    """One choice of a stream, each chunk held to the schema."""
    assert stream.endswith(DONE) and stream.count(DONE) == 1
    seen: dict[str, Any] = {"text": "", "finish": None, "usage": None, "error": None, "chunks": []}
    for line in stream.decode().split("\n\n")[:-2]:
        chunk = json.loads(line.removeprefix("data: "))
        if "error" in chunk:
            seen["error"] = chunk["error"]
            continue
        seen["chunks"].append(chunk)
        seen["usage"] = chunk.get("usage") or seen["usage"]
        assert_valid("CreateCompletionResponse", _with_finish(chunk))
        for choice in chunk["choices"]:
            if choice["index"] == index:
                assert seen["finish"] is None
                seen["text"] += choice["text"]
                seen["finish"] = choice["finish_reason"]
    return seen


def _with_finish(chunk: dict[str, Any]) -> dict[str, Any]:
    # Real chunks say null until the last, which the schema does not know; nor does it know ``usage: null``.
    choices = [{**choice, "finish_reason": choice["finish_reason"] or "stop"} for choice in chunk["choices"]]
    return {key: value for key, value in {**chunk, "choices": choices}.items() if value is not None}


def streamed(batch: Batch, **payload: Any) -> dict[str, Any]:
    (renderer,) = API.renderers(turn_of(stream=True, **payload))
    return read(renderer.render(batch))


def completed(*batches: Batch, **payload: Any) -> dict[str, Any]:
    told = API.complete(turn_of(**payload), [aggregate([batch]) for batch in batches])
    assert_valid("CreateCompletionResponse", told)
    return told


def prompt_in(body: Body) -> str:
    (item,) = body["input"]
    return str(item["content"][0]["text"])


def test_a_prompt_is_a_turn_that_asks_for_what_comes_next():
    turn = turn_of()
    assert (turn.model, turn.count, prompt_in(turn.body)) == ("gpt-5.2", 1, "Once")
    assert turn.body["instructions"] == CONTINUE


def test_with_a_suffix_the_turn_asks_for_what_is_between():
    body = turn_of(prompt="def f(", suffix="return x").body
    assert body["instructions"] == FILL
    assert prompt_in(body) == "<before>def f(</before>\n<after>return x</after>"


def test_each_prompt_has_its_choices_and_none_is_joined_to_another():
    turn = turn_of(prompt=["a", "b"], n=2)
    assert turn.count == 4
    assert [prompt_in(body) for body in API.bodies(turn)] == ["a", "a", "b", "b"]
    told = completed(*(said(text) for text in ("1", "2", "3", "4")), prompt=["a", "b"], n=2, echo=True)
    assert [(choice["index"], choice["text"]) for choice in told["choices"]] == [
        (0, "a1"),
        (1, "a2"),
        (2, "b3"),
        (3, "b4"),
    ]
    assert told["usage"]["total_tokens"] == 4 * USAGE["total_tokens"]


def test_the_final_object():
    told = completed(said(" upon a time"))
    assert told["usage"].pop("prompt_tokens_details") and told["usage"].pop("completion_tokens_details")
    assert told == {
        "id": "cmpl-codex-1",
        "object": "text_completion",
        "created": 1767225600,
        "model": "gpt-5.2",
        "choices": [{"text": " upon a time", "index": 0, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19},
    }


def test_a_stream_of_text():
    seen = streamed(said(" upon a time"), stream_options={"include_usage": True})
    assert (seen["text"], seen["finish"]) == (" upon a time", "stop")
    *before, last = seen["chunks"]
    assert all(chunk["usage"] is None for chunk in before)
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 19)
    assert not any("usage" in chunk for chunk in streamed(said("x"))["chunks"])


def test_several_choices_share_a_stream():
    turn = turn_of(prompt=["a", "b"], stream=True, echo=True)
    first, second = API.renderers(turn)
    written = second.render(said("2")) + first.render(said("1"))
    assert [read(written, index)["text"] for index in (0, 1)] == ["a1", "b2"]
    assert first.ended and second.render(said("more")) == b""


def test_an_echoed_prompt_comes_first_even_before_nothing():
    assert streamed(said(" upon"), echo=True)["text"] == "Once upon"
    assert streamed(events(ended("response.incomplete")), echo=True)["text"] == "Once"


def test_reasoning_is_not_shown_and_refusals_are_text():
    assert streamed(events(summary_delta("Hm."), text_delta("x", 1), ended()))["text"] == "x"
    refused = {"type": "response.refusal.delta", "output_index": 0, "content_index": 0, "delta": "No."}
    assert streamed(events(refused, ended()))["text"] == "No."
    assert completed(events(refused, ended()))["choices"][0]["text"] == "No."


def test_messages_are_parted_by_a_blank_line():
    batch = events(text_delta("a"), done(message("a")), text_delta("b", 1), done(message("b"), 1), ended())
    assert streamed(batch)["text"] == completed(batch)["choices"][0]["text"] == "a\n\nb"


@pytest.mark.parametrize(("type", "finish"), [("response.incomplete", "length"), ("response.completed", "stop")])
def test_how_it_ended(type: str, finish: str):
    batch = events(text_delta("x"), ended(type))
    assert streamed(batch)["finish"] == completed(batch)["choices"][0]["finish_reason"] == finish


def test_failures_end_the_stream_with_a_reason():
    failed = {"type": "error", "error": {"code": "server_is_overloaded", "message": "Busy."}}
    assert streamed(events(text_delta("x"), failed))["error"]["code"] == "overloaded"
    (renderer,) = API.renderers(turn_of(stream=True))
    assert read(renderer.fail(UpstreamFailed("Gone.")))["error"]["message"] == "Gone."
    with pytest.raises(UpstreamFailed):
        completed(events(ended(usage=None)))


@each_recording()
def test_a_recorded_stream_is_text(recording: Recording):
    (renderer,) = API.renderers(turn_of(stream=True))
    seen = read(renderer.render(recording.events()))
    assert seen["text"] == recording.expected["output_text"] + (recording.expected["refusal"] or "")


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": None}, "prompt", "missing_required_parameter"),
    ({"prompt": 5}, "prompt", "invalid_type"),
    ({"prompt": []}, "prompt", "invalid_value"),
    ({"prompt": [1, 2, 3]}, "prompt[0]", "unsupported_content"),
    ({"prompt": ["a", [1]]}, "prompt[1]", "unsupported_content"),
    ({"prompt": [None]}, "prompt[0]", "invalid_type"),
    ({"prompt": ["a"] * 65, "n": 2}, "prompt", "invalid_value"),
    ({"n": 0}, "n", "invalid_value"),
    ({"max_tokens": 0}, "max_tokens", "invalid_value"),
    ({"suffix": 5}, "suffix", "invalid_type"),
    ({"stop": 5}, "stop", "invalid_type"),
]


@pytest.mark.parametrize(("payload", "param", "code"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_cannot_work_is_refused_with_its_place(payload: dict[str, Any], param: str, code: str):
    with pytest.raises(InvalidRequest) as refusal:
        turn_of(**payload)
    assert (refusal.value.param, refusal.value.code) == (param, code)


ASKING: dict[str, Any] = {
    "model": "gpt-5.1",
    "prompt": "Twice",
    "suffix": "x",
    "stream": True,
    "echo": True,
    "stop": "x",
    "max_tokens": 5,
    "n": 2,
    "stream_options": {"include_usage": True},
    "reasoning_effort": "low",
    "prompt_cache_key": "k",
    "service_tier": "priority",
    "best_of": 2,
    "logprobs": 2,
    "temperature": 0,
    "top_p": 0.5,
    "frequency_penalty": 1,
    "presence_penalty": 1,
    "logit_bias": {"1": 2},
    "seed": 7,
    "user": "ann",
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_meets_its_fate(name: str):
    needed = {"stream": True} if name == "stream_options" else {}
    turn, plain = turn_of(**{**needed, name: ASKING[name]}), turn_of(**needed)
    assert FIELDS[name].fate in (MAPPED, EMULATED, IGNORED)
    assert (name in turn.ignored) is (FIELDS[name].fate == IGNORED)
    honoured = (turn.model, turn.body, turn.stream, turn.stop, turn.max_tokens, turn.count, turn.render)
    unasked = (plain.model, plain.body, plain.stream, plain.stop, plain.max_tokens, plain.count, plain.render)
    assert (honoured == unasked) is (FIELDS[name].fate == IGNORED)
    assert all(turn_of(**{name: value}).ignored == () for value in FIELDS[name].neutral)


def test_recorded_requests_become_turns():
    for path in sorted(RECORDINGS.glob("completions_*/*.request.json")):
        assert API.parse(json.loads(path.read_text()), Caller()).count >= 1
