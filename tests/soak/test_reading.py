"""The soak's own eyes: whatever a client should not see is noticed."""

import json

import pytest

from tests.soak.audit import flat
from tests.soak.exchange import Seen
from tests.soak.gauges import Sample, Span
from tests.soak.reading import CHAT, RESPONSES, Told, told
from tests.soak.tally import Tally

SSE = {"content-type": "text/event-stream; charset=utf-8"}
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"message":"It broke.","type":"upstream_error","param":null,"code":"upstream_truncated"}}\n\n'


def chunk(text: str | None, finish: str | None = None) -> bytes:
    delta = {"content": text} if text else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "chatcmpl-1", "choices": [choice]}).encode() + b"\n\n"


def event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def message(text: str) -> dict[str, object]:
    return {"type": "message", "content": [{"type": "output_text", "text": text}]}


def completed(text: str, output: list[dict[str, object]]) -> bytes:
    response = {"id": "resp_1", "status": "completed", "output": output}
    return (
        event("response.output_text.delta", delta=text)
        + event("response.output_item.done", item=message(text))
        + event("response.completed", response=response)
    )


def chat(body: bytes) -> Told:
    return told(CHAT, True, Seen(0, 200, SSE, body))


def responses(body: bytes) -> Told:
    return told(RESPONSES, True, Seen(0, 200, SSE, body))


def test_a_whole_stream_is_read_with_its_comments_left_out() -> None:
    found = chat(chunk("a ") + b": keepalive\n\n" + chunk("ñ") + chunk(None, "stop") + DONE)
    assert (found.text, found.code, found.flaw, found.id) == ("a ñ", None, "", "chatcmpl-1")
    for output in ([], [message("b ñ")]):
        found = responses(completed("b ñ", output))
        assert (found.text, found.code, found.flaw, found.id) == ("b ñ", None, "", "resp_1")


def test_a_failure_with_its_terminator_is_one() -> None:
    found = chat(chunk("a") + ERROR + DONE)
    assert (found.code, found.flaw) == ("upstream_truncated", "")
    failure = {"error": {"code": "upstream_timeout", "message": "Too late."}}
    found = responses(event("response.output_text.delta", delta="a") + event("response.failed", response=failure))
    assert (found.code, found.flaw) == ("upstream_timeout", "")
    refused = told(CHAT, True, Seen(0, 503, {"content-type": "application/json"}, ERROR[6:]))
    assert (refused.code, refused.flaw) == ("upstream_truncated", "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        chunk("a"),
        chunk("a") + chunk(None, "stop"),
        chunk("a") + DONE,
        chunk("a") + chunk(None, "stop") + DONE + DONE,
        chunk("a") + chunk(None, "stop") + DONE + chunk("b"),
        chunk("a")[:-9],
        b'data: {"error":{"message":"","type":"x","param":null,"code":"y"}}\n\n' + DONE,
    ],
)
def test_a_chat_stream_that_is_not_whole_is_noticed(body: bytes) -> None:
    assert chat(body).flaw


@pytest.mark.parametrize(
    "body",
    [
        b"",
        event("response.output_text.delta", delta="a"),
        completed("a", []) + event("response.output_text.delta", delta="b"),
        completed("a", []) + completed("a", []),
        completed("a", [message("b")]),
        completed("a", [])[:-5],
        event("response.output_text.delta", delta="b") + completed("a", []),
    ],
)
def test_a_response_stream_that_is_not_whole_is_noticed(body: bytes) -> None:
    assert responses(body).flaw


def test_an_answer_of_another_kind_than_asked_for_is_noticed() -> None:
    assert told(CHAT, False, Seen(0, 200, SSE, chunk("a") + DONE)).flaw
    assert told(CHAT, True, Seen(0, 502, {}, b"<html>Bad gateway</html>")).flaw


def test_growth_is_noticed() -> None:
    steady = Span([Sample(at, 100 + at % 3, 50, 3) for at in range(40)])
    assert [finding.wrong for finding in flat(steady)] == ["", ""]
    growing = Span([Sample(at, 100 + at * 2, 50 + at * 4, 3) for at in range(40)])
    assert all(finding.wrong for finding in flat(growing))


def test_only_connections_of_killed_workers_are_excused() -> None:
    tally = Tally()
    tally.killed(frozenset({4711}))
    at = tally.kills[0].at
    assert tally.was_killed(4711, at - 1, at + 0.1)
    assert not tally.was_killed(4712, at - 1, at + 0.1)
    assert not tally.was_killed(4711, at - 9, at - 8)
