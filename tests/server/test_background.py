"""Answers that outlive their request: in the background, and streams whose client vanished."""

import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from codexproxy.access.keys import hash_key
from codexproxy.simulator.client import SimulatorClient
from tests.patience import patient
from tests.server.talk import MODEL, Json, frames, sdk, sent, texts
from tests.service import Answer, Service, wait_until

Serve = Callable[..., Service]

RESPONSES = "/v1/responses"
LONG = {"text": "word " * 60, "pace_ms": 20}
ENDLESS = {"text": "word " * 3000, "pace_ms": 20}
SILENT = {"text": "one two", "stalls": [{"event": 6, "ms": 60_000}]}
ASK = {"model": MODEL, "input": "hi"}
BACKGROUND = {**ASK, "background": True}


def status_of(service: Service, id: str, key: dict[str, str] | None = None) -> str:
    return str(service.get(f"{RESPONSES}/{id}", key).json["status"])


def wait_for(service: Service, id: str, status: str, key: dict[str, str] | None = None) -> Json:
    wait_until(lambda: status_of(service, id, key) == status, f"the status {status}")
    found: Json = service.get(f"{RESPONSES}/{id}", key).json
    return found


def begun(service: Service, **fields: Any) -> str:
    """The id of a background response."""
    answer = service.post(RESPONSES, {**BACKGROUND, **fields})
    assert (answer.status, answer.json["status"], answer.json["background"]) == (200, "queued", True)
    return str(answer.json["id"])


def free(sim: SimulatorClient) -> None:
    wait_until(lambda: sim.counters()["open_streams"] == 0, "the end of the turn upstream", 8)


def test_a_background_response_is_made_polled_and_continued(service: Service, sim: SimulatorClient) -> None:
    client = sdk(service)
    sim.script(LONG)
    response = client.responses.create(**BACKGROUND)  # type: ignore[call-overload]
    assert response.status == "queued" and response.background and not response.output
    seen = {response.status}
    while client.responses.retrieve(response.id).status in ("queued", "in_progress"):
        seen.add(client.responses.retrieve(response.id).status)
    done = client.responses.retrieve(response.id)
    assert done.status == "completed" and done.output_text == LONG["text"] and "in_progress" in seen
    assert done.id == response.id and done.usage and done.usage.total_tokens
    (item,) = client.responses.input_items.list(response.id)
    assert item.content[0].text == "hi"  # type: ignore[union-attr]
    client.responses.create(model=MODEL, input="and?", previous_response_id=response.id)
    assert texts(sent(sim)) == ["hi", LONG["text"], "and?"]


def test_one_that_is_being_made_cannot_be_continued(service: Service, sim: SimulatorClient) -> None:
    sim.script(LONG)
    id = begun(service)
    answer = service.post(RESPONSES, {**ASK, "previous_response_id": id})
    assert answer.status == 400 and "still being made" in answer.json["error"]["message"]


def test_its_stream_is_resumed_from_any_event_on_any_worker(service: Service, sim: SimulatorClient) -> None:
    client = sdk(service)
    sim.script(LONG)
    stream = client.responses.create(**BACKGROUND, stream=True)  # type: ignore[call-overload]
    first = [event for event, _ in zip(stream, range(9), strict=False)]
    id = first[0].response.id
    assert {event.type for event in first[:2]} == {"response.created", "response.in_progress"}
    stream.close()
    for after in (3, 8, None):
        more = {"starting_after": after} if after is not None else {}
        rest = list(client.responses.retrieve(id, stream=True, **more))
        assert [event.sequence_number for event in rest] == list(
            range(0 if after is None else after + 1, rest[-1].sequence_number + 1)
        )
        assert rest[-1].type == "response.completed"
        assert rest[-1].response.id == id and rest[-1].response.output_text == LONG["text"]
    deltas = [event.delta for event in rest if event.type == "response.output_text.delta"]
    assert "".join(deltas) == LONG["text"]
    sole = frames(service.get(f"{RESPONSES}/{id}?stream=true&starting_after=100000").body)
    assert [event["type"] for event in sole] == ["response.completed"]
    refused = service.get(f"{RESPONSES}/{id}?stream=true&starting_after=last")
    assert (refused.status, refused.json["error"]["param"]) == (400, "starting_after")


def test_a_response_that_was_not_logged_is_followed_to_its_end_in_one_event(service: Service) -> None:
    answer = service.post(RESPONSES, {"model": MODEL, "input": "say:done"}).json
    (event,) = frames(service.get(f"{RESPONSES}/{answer['id']}?stream=true").body)
    assert event["type"] == "response.completed" and event["response"] == answer


@pytest.mark.parametrize("script", [ENDLESS, SILENT], ids=["busy", "silent"])
def test_a_cancelled_one_frees_upstream_at_once(service: Service, sim: SimulatorClient, script: Json) -> None:
    client = sdk(service)
    sim.script(script)
    response = client.responses.create(**BACKGROUND)  # type: ignore[call-overload]
    wait_until(lambda: sim.counters()["open_streams"] == 1, "the turn upstream")
    assert client.responses.cancel(response.id).status == "cancelled"
    assert client.responses.retrieve(response.id).status == "cancelled"
    free(sim)
    assert client.responses.cancel(response.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="cancelled"):
        client.responses.create(model=MODEL, input="and?", previous_response_id=response.id)
    (*_, last) = frames(service.get(f"{RESPONSES}/{response.id}?stream=true").body)
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "cancelled")


def test_whoever_listens_is_told_of_the_cancellation(service: Service, sim: SimulatorClient) -> None:
    client = sdk(service)
    sim.script(ENDLESS)
    stream = client.responses.create(**BACKGROUND, stream=True)  # type: ignore[call-overload]
    id = next(iter(stream)).response.id
    client.responses.cancel(id)
    *_, last = stream
    assert (last.type, last.response.status) == ("response.incomplete", "cancelled")
    free(sim)


def test_a_deleted_one_frees_upstream_too(service: Service, sim: SimulatorClient) -> None:
    sim.script(ENDLESS)
    id = begun(service)
    wait_until(lambda: sim.counters()["open_streams"] == 1, "the turn upstream")
    assert service.request("DELETE", f"{RESPONSES}/{id}").json["deleted"] is True
    free(sim)
    assert service.get(f"{RESPONSES}/{id}").status == 404


def test_only_background_responses_can_be_cancelled(service: Service) -> None:
    client = sdk(service)
    response = client.responses.create(model=MODEL, input="say:done")
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.cancel(response.id)


def test_a_refusal_upstream_is_the_responses_failure(service: Service, sim: SimulatorClient) -> None:
    sim.rules(usage_limit=True)
    failed = wait_for(service, begun(service), "failed")
    assert failed["error"]["code"] == "usage_limit_reached" and "usage limit" in failed["error"]["message"]
    sim.rules(usage_limit=False)
    sim.script({"text": "one two three", "cut": {"event": 7, "how": "reset"}})
    assert wait_for(service, begun(service), "failed")["error"]["code"].startswith("upstream_")
    sim.script({"text": "one two three", "cut": {"event": 7, "how": "reset"}})
    *_, error, last = frames(service.post(RESPONSES, {**BACKGROUND, "stream": True}).body)
    assert (error["type"], last["type"]) == ("error", "response.failed")
    kept = service.get(f"{RESPONSES}/{last['response']['id']}").json
    assert kept["status"] == "failed"
    followed = frames(service.get(f"{RESPONSES}/{last['response']['id']}?stream=true").body)
    assert followed[-1] == last and followed[0]["type"] == "response.created"


def test_background_turns_hold_their_slots_to_their_end(serve: Serve, sim: SimulatorClient) -> None:
    service = serve(CODEX_MAX_PARALLEL_REQUESTS="1", CODEX_QUEUE_TIMEOUT_SECONDS="0.3", WEB_CONCURRENCY="2")
    assert service.post(RESPONSES, ASK).status == 200
    sim.script(ENDLESS)
    id = begun(service)
    wait_until(lambda: sim.counters()["open_streams"] == 1, "the turn upstream")
    answer = service.post(RESPONSES, ASK)
    assert (answer.status, answer.code) == (429, "queue_timeout")
    failed = wait_for(service, begun(service), "failed")
    assert failed["error"]["code"] == "queue_timeout"
    service.post(f"{RESPONSES}/{id}/cancel", None)
    wait_until(lambda: service.post(RESPONSES, ASK).status == 200, "a free slot", 5)


def test_background_turns_count_against_their_key_to_their_end(
    serve: Serve, sim: SimulatorClient, tmp_path: Path
) -> None:
    path = tmp_path / "users.json"
    ann = {"name": "ann", "apiKeyHash": hash_key("ann"), "maxParallel": 1, "ratePerMinute": 4, "tokensPerDay": 100_000}
    path.write_text(json.dumps({"users": [ann]}))
    service, key = serve(CONFIG_PATH=str(path)), {"authorization": "Bearer ann"}
    sim.script(ENDLESS)
    id = service.post(RESPONSES, BACKGROUND, key).json["id"]
    wait_until(lambda: sim.counters()["open_streams"] == 1, "the turn upstream")
    assert service.post(RESPONSES, ASK, key).status == 429
    service.post(f"{RESPONSES}/{id}/cancel", None, key)
    wait_until(lambda: sim.counters()["open_streams"] == 0, "the end of the turn")
    statuses = []
    for _ in range(4):
        wait_until(lambda: sim.counters()["open_streams"] == 0, "the end of the turn")
        # Its place is free a moment after its stream.
        answer = wait_until(lambda: post_unless_full(service, key), "a free place")
        statuses.append(answer.status)
        if answer.status == 200:
            wait_for(service, answer.json["id"], "completed", key)
    assert statuses == [200, 200, 200, 429]


def post_unless_full(service: Service, key: dict[str, str]) -> Answer | None:
    answer = service.post(RESPONSES, BACKGROUND, key)
    return None if answer.status == 429 and "at the same time" in answer.json["error"]["message"] else answer


def test_a_stopping_service_lets_background_answers_finish(serve: Serve, sim: SimulatorClient) -> None:
    service = serve()
    sim.script({"text": "word " * 100, "pace_ms": 20})
    id = begun(service)
    wait_until(lambda: sim.counters()["open_streams"] == 1, "the turn upstream")
    service.stop()
    service.start()
    assert service.get(f"{RESPONSES}/{id}").json["output"][-1]["content"][0]["text"] == "word " * 100


def test_one_that_cannot_finish_in_time_says_why(serve: Serve, sim: SimulatorClient) -> None:
    service = serve()
    sim.script(ENDLESS)
    id = begun(service)
    wait_until(lambda: sim.counters()["open_streams"] == 1, "the turn upstream")
    assert service.process is not None
    service.process.send_signal(signal.SIGINT)  # at once
    service.process.wait(patient(10))
    service.start()
    response = service.get(f"{RESPONSES}/{id}").json
    assert response["status"] == "failed" and "stopped or restarted" in response["error"]["message"]
    free(sim)


@pytest.mark.parametrize("grace", ["0", "30"], ids=["plain", "resumable"])
def test_a_client_that_listens_when_the_service_ends_is_told_why(
    serve: Serve, sim: SimulatorClient, grace: str
) -> None:
    service = serve(CODEX_RESUME_GRACE_SECONDS=grace)
    sim.script(SILENT)
    sock = service.send(RESPONSES, {**ASK, "stream": True})
    body = b""
    while body.count(b"data: ") < 6:
        body += sock.recv(65536)
    assert service.process is not None
    service.process.send_signal(signal.SIGINT)  # at once
    while data := sock.recv(65536):
        body += data
    assert body.count(b"event: response.failed\n") == 1 and b"stopped or restarted" in body
    assert body.endswith(b"0\r\n\r\n")


# -- clients that vanish --------------------------------------------------------------------


def read_events(sock: socket.socket, count: int) -> list[Json]:
    """The first events of a stream, read from its socket as it comes."""
    body = b""
    while len(found := frames(b"\n".join(body.split(b"\r\n")[:-1]))) < count:
        data = sock.recv(65536)
        assert data, "the stream ended early"
        body += data
    return found


def vanish(service: Service, **fields: Any) -> tuple[str, int]:
    """A stream whose client leaves after some events; the response's id and the last event's number."""
    sock = service.send(RESPONSES, {**ASK, "stream": True, **fields})
    events = read_events(sock, 6)
    sock.close()
    return events[0]["response"]["id"], events[-1]["sequence_number"]


def test_a_stream_whose_client_vanished_is_resumed_where_it_was_left(serve: Serve, sim: SimulatorClient) -> None:
    service = serve(CODEX_RESUME_GRACE_SECONDS="3", WEB_CONCURRENCY="2")
    sim.script({"text": "word " * 300, "pace_ms": 20})
    id, last = vanish(service)
    wait_until(lambda: status_of(service, id) == "in_progress", "the stored response")
    time.sleep(0.3)  # the client needs a moment to come back
    body = service.get(f"{RESPONSES}/{id}?stream=true&starting_after={last}").body
    events = frames(body)  # longer than the grace: somebody reads along
    assert [event["sequence_number"] for event in events] == list(range(last + 1, events[-1]["sequence_number"] + 1))
    assert events[-1]["type"] == "response.completed"
    assert status_of(service, id) == "completed"
    service.post(RESPONSES, {**ASK, "input": "and?", "previous_response_id": id})
    assert texts(sent(sim)) == ["hi", "word " * 300, "and?"]


def test_a_stream_that_nobody_resumes_ends_with_the_grace(serve: Serve, sim: SimulatorClient) -> None:
    service = serve(CODEX_RESUME_GRACE_SECONDS="1")
    sim.script(SILENT)
    id, _ = vanish(service)
    assert status_of(service, id) == "in_progress"
    assert sim.counters()["open_streams"] == 1
    free(sim)
    assert status_of(service, id) == "cancelled"


def test_with_a_grace_streams_still_come_whole_and_refusals_with_their_status(
    serve: Serve, sim: SimulatorClient
) -> None:
    service = serve(CODEX_RESUME_GRACE_SECONDS="5", HEARTBEAT_SECONDS="0.2")
    plain = frames(service.post(RESPONSES, {**ASK, "input": "say:whole", "stream": True, "store": False}).body)
    kept = service.post(RESPONSES, {**ASK, "input": "say:whole", "stream": True}).body
    assert [event["type"] for event in frames(kept)] == [event["type"] for event in plain]
    sim.script({"text": "late", "stalls": [{"event": 5, "ms": 900}]})
    assert service.post(RESPONSES, {**ASK, "stream": True}).body.count(b": keepalive") >= 2
    sim.rules(usage_limit=True)
    assert service.post(RESPONSES, {**ASK, "stream": True}).status == 429


def test_by_default_a_vanished_client_ends_its_turn(service: Service, sim: SimulatorClient) -> None:
    sim.script(ENDLESS)
    id, _ = vanish(service)
    wait_until(lambda: sim.counters()["open_streams"] == 0, "the end of the turn upstream", 2)
    assert service.get(f"{RESPONSES}/{id}").status == 404


def test_a_reader_that_leaves_is_noticed(serve: Serve, sim: SimulatorClient) -> None:
    service = serve(CODEX_RESUME_GRACE_SECONDS="1")
    sim.script(SILENT)
    id, _ = vanish(service)
    reader = socket.create_connection(("127.0.0.1", service.port), timeout=patient(5))
    reader.sendall(f"GET {RESPONSES}/{id}?stream=true HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert len(read_events(reader, 6)) >= 6
    time.sleep(2.5)  # longer than the grace
    assert sim.counters()["open_streams"] == 1
    reader.close()
    free(sim)
