"""Streams over real HTTP: they start at once, say that they live, end once, and free what they held.

What becomes of them when something breaks is in ``tests/faults``.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.data import RECORDINGS
from tests.patience import patient
from tests.service import Service, wait_until

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MESSAGES = [{"role": "user", "content": "hi"}]
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "gpt-5.2", "messages": MESSAGES},
    RESPONSES: {"model": "gpt-5.2", "input": "hi"},
}
PATHS = list(BODIES)


def ask(service: Service, path: str, *, stream: bool = True, **fields: Any) -> Any:
    return service.post(path, {**BODIES[path], "stream": stream, **fields})


def let_in(sim: SimulatorClient) -> int:
    """How many turns got past the login; a fresh one may cost a service one refusal."""
    return sum(turn["status"] != 401 for turn in sim.turns())


def ends_well(path: str, body: bytes) -> bool:
    if path == CHAT:
        return body.endswith(b"data: [DONE]\n\n") and b'"finish_reason":"stop"' in body and b'"error"' not in body
    return b"event: response.completed\n" in body and b"event: error\n" not in body


def ends_with_an_error(path: str, body: bytes, code: str) -> bool:
    told = f'"code":"{code}"'.encode() in body
    if path == CHAT:
        return told and body.endswith(b"data: [DONE]\n\n") and body.count(b"[DONE]") == 1
    return told and body.count(b"event: response.failed\n") == 1 and body.rstrip().endswith(b"}")


@pytest.mark.parametrize("path", PATHS)
def test_a_stream_has_the_headers_that_keep_proxies_from_buffering(service: Service, path: str) -> None:
    answer = ask(service, path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-codexproxy-backend"] == "default"
    assert ends_well(path, answer.body)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [True, False])
def test_what_was_ignored_and_changed_is_said(service: Service, path: str, stream: bool) -> None:
    answer = ask(service, path, stream=stream, model="gpt-5.1-codex-mini-low", temperature=0.3)
    assert answer.headers["x-codexproxy-ignored"] == "temperature"
    assert answer.headers["x-codexproxy-adapted"] == "reasoning.effort:low->medium"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "script",
    [{"delay_ms": 1500}, {"stalls": [{"at": "first_event", "ms": 1500}]}, {"stalls": [{"event": 6, "ms": 1500}]}],
)
def test_comments_come_while_upstream_is_silent(
    serve: Callable[..., Service], sim: SimulatorClient, path: str, script: dict[str, Any]
) -> None:
    service = serve(HEARTBEAT_SECONDS="0.3")
    sim.script({"text": "Hello there, my friend", **script})
    began = time.monotonic()
    sock = service.send(path, {**BODIES[path], "stream": True})
    first = sock.recv(65536)
    assert time.monotonic() - began < patient(1.2)
    body = first
    while chunk := sock.recv(65536):
        body += chunk
        if b"\r\n0\r\n\r\n" in body:
            break
    assert 2 <= body.count(b": keepalive\n\n") <= 6
    assert (b"[DONE]" in body) if path == CHAT else (b"response.completed" in body)
    sock.close()


def test_half_a_frame_is_no_reason_for_a_comment(serve: Callable[..., Service], sim: SimulatorClient) -> None:
    service = serve(HEARTBEAT_SECONDS="5")
    sim.script({"text": "Hello there", "chunking": 7})
    assert b"keepalive" not in ask(service, CHAT).body


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "script",
    [
        {"text": "a", "delay_ms": 60_000},
        {"text": "a", "stalls": [{"at": "first_event"}]},
        {"text": "a b c d e f", "stalls": [{"event": 6}]},
        {"text": "word " * 5000, "pace_ms": 20},
    ],
    ids=["before the headers", "before the first event", "in mid-stream", "while upstream talks"],
)
def test_a_client_that_leaves_frees_the_upstream_within_a_second(
    service: Service, sim: SimulatorClient, path: str, stream: bool, script: dict[str, Any]
) -> None:
    sim.script(script)
    sock = service.send(path, {**BODIES[path], "stream": stream})
    wait_until(lambda: sim.counters()["open_streams"] == 1, "the upstream stream")
    left = time.monotonic()
    sock.close()
    wait_until(lambda: sim.counters()["open_streams"] == 0, "the end of the upstream stream", 3)
    assert time.monotonic() - left < 1.0
    wait_until(lambda: " status=499 " in service.log, "the log line")


@pytest.mark.parametrize("path", PATHS)
def test_an_overload_inside_a_200_is_tried_once_more_before_the_first_event(
    service: Service, sim: SimulatorClient, path: str
) -> None:
    overloaded = {"items": [], "end": "failed", "error": {"code": "server_is_overloaded", "message": "busy"}}
    sim.script(overloaded)
    assert ends_well(path, ask(service, path).body)
    assert let_in(sim) == 2


def test_a_failure_inside_a_200_is_a_status_in_chat_and_passes_in_responses(
    service: Service, sim: SimulatorClient
) -> None:
    failed = {"items": [], "end": "failed", "error": {"code": "context_length_exceeded", "message": "too long"}}
    sim.script(failed, repeat=3)
    answer = ask(service, CHAT)
    assert (answer.status, answer.code) == (400, "context_length_exceeded")
    assert answer.json["error"]["message"].startswith("too long (Input tokens exceed the configured limit")
    answer = ask(service, RESPONSES)
    assert answer.status == 200
    assert b"event: response.created\n" in answer.body
    assert b'"code":"context_length_exceeded"' in answer.body
    assert ask(service, RESPONSES, stream=False).status == 400


@pytest.mark.parametrize("path", PATHS)
def test_a_stream_that_is_cut_at_any_frame_ends_with_an_error_and_its_terminator(
    service: Service, sim: SimulatorClient, path: str
) -> None:
    sim.script({"text": "one two"})
    frames = [part + b"\n\n" for part in ask(service, RESPONSES).body.split(b"\n\n") if part]
    raw = b"".join(frames)
    ends = [sum(map(len, frames[: number + 1])) for number in range(len(frames))]
    whole = len(raw.rstrip())
    for place in sorted({end + shift for end in ends for shift in (-1, 0, 1) if end + shift < len(raw)}):
        sim.reset()
        service.login()
        sim.script({"raw_text": raw[:place].decode()}, repeat=2)
        answer = ask(service, path)
        if place >= whole:
            assert ends_well(path, answer.body), place
        elif answer.status == 200:
            assert ends_with_an_error(path, answer.body, "upstream_truncated"), (place, answer.body[-300:])
        else:
            assert (answer.status, answer.code) == (502, "upstream_truncated")


@pytest.mark.parametrize("path", PATHS)
def test_the_stream_ends_although_the_socket_stays_open(service: Service, sim: SimulatorClient, path: str) -> None:
    sim.rules(socket_left_open=True)
    began = time.monotonic()
    assert ends_well(path, ask(service, path).body)
    assert time.monotonic() - began < patient(2)
    wait_until(lambda: sim.counters()["open_streams"] == 0, "the end of the upstream stream", 2)


def test_words_arrive_as_they_are_spoken(service: Service, sim: SimulatorClient) -> None:
    sim.script({"text": "one two three four five six", "pace_ms": 60})
    connection = service.connect()
    connection.request("POST", CHAT, json.dumps({**BODIES[CHAT], "stream": True}))
    response = connection.getresponse()
    times = []
    while line := response.readline():
        if b'"content":' in line:
            times.append(time.monotonic())
    assert len(times) >= 6
    assert times[-1] - times[1] > 0.2
    connection.close()


def test_upstream_connections_are_used_again(service: Service, sim: SimulatorClient) -> None:
    for _ in range(6):
        ask(service, CHAT)
    before = sim.counters()["connections"]
    for _ in range(10):
        ask(service, CHAT)
    # One for the second question about the counters, one per worker that had none yet.
    assert sim.counters()["connections"] - before <= 3


@pytest.mark.parametrize("path", PATHS)
def test_a_recorded_failure_is_an_error_in_every_dialect(service: Service, sim: SimulatorClient, path: str) -> None:
    recorded = RECORDINGS / "responses_sse/error_then_failed_quota.sse"
    sim.script({"raw_file": str(recorded)}, repeat=4)
    answer = ask(service, path, stream=False)
    assert (answer.status, answer.code) == (429, "insufficient_quota")
    answer = ask(service, path)
    if path == RESPONSES:
        assert answer.body == recorded.read_bytes().replace(b"gpt-5-nano-2025-08-07", b"gpt-5.2")
    else:
        assert (answer.status, answer.code) == (429, "insufficient_quota")
