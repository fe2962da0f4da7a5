"""What the backend lacks and we emulate, over real HTTP: n, stop, max_tokens."""

import json
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.service import Answer, Service, wait_until

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "gpt-5.2", "messages": [{"role": "user", "content": "hi"}]}


def chunks(answer: Answer) -> list[dict[str, Any]]:
    *lines, done = [line[6:] for line in answer.body.decode().split("\n\n") if line.startswith("data: ")]
    assert done == "[DONE]"
    return [json.loads(line) for line in lines]


def told(answer: Answer) -> dict[int, tuple[str, str]]:
    """Text and finish reason of each choice, streamed or not."""
    if not answer.body.startswith(b"data: "):
        return {c["index"]: (c["message"]["content"], c["finish_reason"]) for c in answer.json["choices"]}
    found: dict[int, tuple[str, str]] = {}
    for chunk in chunks(answer):
        for choice in chunk["choices"]:
            text, finish = found.get(choice["index"], ("", ""))
            found[choice["index"]] = (text + (choice["delta"].get("content") or ""), choice["finish_reason"] or finish)
    return found


@pytest.mark.parametrize("stream", [True, False])
def test_n_answers_are_n_turns_in_one_answer(service: Service, sim: SimulatorClient, stream: bool) -> None:
    for word in ("one", "two", "three"):
        sim.script({"text": f"answer {word}", "pace_ms": 5})
    options = {"stream_options": {"include_usage": True}} if stream else {}
    answer = service.post(CHAT, {**ASK, "n": 3, "stream": stream, **options})
    assert sorted(text for text, _ in told(answer).values()) == ["answer one", "answer three", "answer two"]
    assert set(told(answer)) == {0, 1, 2}
    assert {finish for _, finish in told(answer).values()} == {"stop"}
    usage = chunks(answer)[-1]["usage"] if stream else answer.json["usage"]
    single = service.post(CHAT, ASK).json["usage"]
    assert usage["prompt_tokens"] >= single["prompt_tokens"]


@pytest.mark.parametrize("stream", [True, False])
def test_one_failed_answer_of_several_fails_them_all_and_frees_the_others(
    service: Service, sim: SimulatorClient, stream: bool
) -> None:
    sim.script({"text": "word " * 3000, "pace_ms": 20}, {"text": "short one", "cut": {"event": 7, "how": "reset"}})
    answer = service.post(CHAT, {**ASK, "n": 2, "stream": stream})
    assert b"upstream_truncated" in answer.body
    assert answer.status == (200 if stream else 502)
    wait_until(lambda: sim.counters()["open_streams"] == 0, "the end of the other stream", 3)


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_ends_before_its_stop_text_and_upstream_is_freed(
    service: Service, sim: SimulatorClient, stream: bool
) -> None:
    sim.script({"text": "one two STOP three " + "word " * 2000, "pace_ms": 10})
    answer = service.post(CHAT, {**ASK, "stop": ["STOP"], "stream": stream})
    assert told(answer) == {0: ("one two ", "stop")}
    wait_until(lambda: sim.counters()["open_streams"] == 0, "the end of the upstream stream", 2)


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_begins_with_its_stop_text_is_empty_and_asked_for_once(
    service: Service, sim: SimulatorClient, stream: bool
) -> None:
    sim.script({"text": "STOP three " + "word " * 200, "pace_ms": 2})
    assert told(service.post(CHAT, {**ASK, "stop": "STOP", "stream": stream})) == {0: ("", "stop")}
    sim.script({"text": "STOP three"})
    body = {"model": "gpt-5.2", "prompt": "hi", "stop": "STOP", "stream": stream}
    answer = service.post("/v1/completions", body)
    choices = [c for chunk in chunks(answer) for c in chunk["choices"]] if stream else answer.json["choices"]
    assert ("".join(c["text"] for c in choices), choices[-1]["finish_reason"]) == ("", "stop")
    assert len([turn for turn in sim.turns() if turn["status"] == 200]) == 2


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_an_answer_ends_at_its_longest_length(service: Service, sim: SimulatorClient, stream: bool, field: str) -> None:
    sim.script({"text": "word " * 2000, "pace_ms": 5})
    answer = service.post(CHAT, {**ASK, field: 10, "stream": stream})
    text, finish = told(answer)[0]
    assert finish == "length"
    assert 5 <= len(text.split()) <= 15
    wait_until(lambda: sim.counters()["open_streams"] == 0, "the end of the upstream stream", 2)


@pytest.mark.parametrize("stream", [True, False])
def test_a_response_ends_at_its_longest_length(service: Service, sim: SimulatorClient, stream: bool) -> None:
    sim.script({"text": "word " * 2000, "pace_ms": 5})
    body = {"model": "gpt-5.2", "input": "hi", "max_output_tokens": 10, "stream": stream}
    answer = service.post("/v1/responses", body)
    if stream:
        last = json.loads(answer.body.decode().rstrip().split("data: ")[-1])
        assert last["type"] == "response.incomplete"
        response = last["response"]
    else:
        response = answer.json
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}


SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "city",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def test_json_that_does_not_fit_is_asked_for_once_more(service: Service, sim: SimulatorClient) -> None:
    sim.script({"text": '{"town": 3}'}, {"text": '{"city": "Paris"}'})
    answer = service.post(CHAT, {**ASK, "response_format": SCHEMA})
    assert json.loads(answer.json["choices"][0]["message"]["content"]) == {"city": "Paris"}
    assert "response_format:repaired" in answer.headers["x-codexproxy-adapted"]
    single = service.post(CHAT, {**ASK, "response_format": SCHEMA}).json["usage"]["prompt_tokens"]
    assert answer.json["usage"]["prompt_tokens"] > single


@pytest.mark.parametrize("text", ['{"town": 3}', "Paris, of course."])
@pytest.mark.parametrize("strict", [{"strict": False}, {}])
def test_json_that_does_not_fit_a_schema_that_is_not_strict_is_delivered_and_named(
    service: Service, sim: SimulatorClient, strict: dict[str, Any], text: str
) -> None:
    schema = {name: value for name, value in SCHEMA["json_schema"].items() if name != "strict"}
    form = {**SCHEMA, "json_schema": {**schema, **strict}}
    # A second turn would fail; none is asked for.
    sim.script({"text": text}, {"status": 400, "json": {"detail": "no more"}})
    answer = service.post(CHAT, {**ASK, "response_format": form})
    assert (answer.status, told(answer)) == (200, {0: (text, "stop")})
    assert "response_format:mismatch" in answer.headers["x-codexproxy-adapted"]
    assert [turn["status"] for turn in sim.turns() if turn["status"] != 401] == [200]
    sim.reset()
    service.login()
    sim.script({"text": text})
    assert told(service.post(CHAT, {**ASK, "response_format": form, "stream": True})) == {0: (text, "stop")}


def test_json_that_fits_a_schema_that_is_not_strict_needs_no_note(service: Service, sim: SimulatorClient) -> None:
    sim.script({"text": '{"city": "Paris"}'})
    form = {**SCHEMA, "json_schema": {**SCHEMA["json_schema"], "strict": False}}
    assert "mismatch" not in service.post(CHAT, {**ASK, "response_format": form}).headers.get(
        "x-codexproxy-adapted", ""
    )


def test_json_that_never_fits_is_a_typed_error(service: Service, sim: SimulatorClient) -> None:
    sim.script({"text": '{"town": 3}'}, repeat=2)
    answer = service.post(CHAT, {**ASK, "response_format": SCHEMA})
    assert (answer.status, answer.code) == (502, "invalid_structured_output")


def test_an_empty_answer_is_asked_for_once_more_and_then_an_error(service: Service, sim: SimulatorClient) -> None:
    empty = {
        "items": [{"type": "message", "text": ""}],
        "usage": {"input_tokens": 3, "output_tokens": 0, "total_tokens": 3},
    }
    sim.script(empty, {"text": "here"})
    assert told(service.post(CHAT, ASK)) == {0: ("here", "stop")}
    sim.script(empty, repeat=2)
    answer = service.post(CHAT, ASK)
    assert (answer.status, answer.code) == (502, "empty_response")


ASKED: dict[str, dict[str, Any]] = {
    CHAT: ASK,
    "/v1/completions": {"prompt": "hi"},
    "/v1/responses": {"input": "hi"},
}


def usage(tokens: int) -> dict[str, Any]:
    return {"input_tokens": 3, "output_tokens": tokens, "total_tokens": 3 + tokens}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("route", ASKED)
@pytest.mark.parametrize("kind", ["message", "reasoning"])
def test_an_answer_with_nothing_but_an_empty_item_is_an_error_in_every_format(
    service: Service, sim: SimulatorClient, route: str, stream: bool, kind: str
) -> None:
    sim.script({"items": [{"type": kind, "text": ""}], "usage": usage(0)}, repeat=-1)
    answer = service.post(route, {"model": "gpt-5.2", "stream": stream, **ASKED[route]})
    if stream:
        assert b'"code":"empty_response"' in answer.body
        assert b'"response.completed"' not in answer.body
        assert answer.body.endswith(b"\n\n")
    else:
        assert (answer.status, answer.code) == (502, "empty_response")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", ["tool_search_call", "mcp_approval_request", "web_search_call"])
def test_an_answer_that_holds_only_an_item_of_a_tool_is_delivered(
    service: Service, sim: SimulatorClient, kind: str, stream: bool
) -> None:
    item = {"type": kind, "id": "it_1", "status": "completed"}
    told = {"type": "response.output_item.done", "output_index": 0, "item": item}
    completed = {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": []}}
    frames = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in (told, completed)]
    sim.script({"raw_text": "".join(frames), "raw_frames": False})
    answer = service.post("/v1/responses", {"model": "gpt-5.2", "input": "hi", "stream": stream})
    assert (answer.status, kind.encode() in answer.body, b"empty_response" in answer.body) == (200, True, False)


LOST = {"items": [], "usage": {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12}}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("route", [CHAT, "/v1/completions", "/v1/responses"])
def test_words_that_took_tokens_and_never_came_are_asked_for_once_more_and_then_an_error(
    service: Service, sim: SimulatorClient, route: str, stream: bool
) -> None:
    body = {"model": "gpt-5.2", "stream": stream, **ASKED[route]}
    sim.script(LOST, {"text": "here"})
    answer = service.post(route, body)
    assert (answer.status, b"here" in answer.body) == (200, True)
    sim.script(LOST, repeat=2)
    answer = service.post(route, body)
    assert (answer.status, answer.code) == (502, "empty_response")
    assert len([turn for turn in sim.turns() if turn["status"] == 200]) == 4


def test_a_request_nested_too_deeply_is_refused(service: Service) -> None:
    for depth, status in ((200, 200), (300, 400), (950, 400), (1020, 400), (100_000, 400)):
        nested = "[" * depth + "]" * depth
        body = '{"model":"gpt-5.2","input":[{"role":"user","content":"hi","deep":' + nested + "}]}"
        assert service.post("/v1/responses", body.encode()).status == status
