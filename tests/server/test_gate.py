"""The gate over real HTTP: dry run, healing, limits, and that no turn route goes around it."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.service import Service, wait_until

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {
    "model": "gpt-5.2",
    "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
}


def test_a_dry_run_sends_nothing_and_tells_everything(service: Service, sim: SimulatorClient) -> None:
    asked = {**ASK, "model": "gpt-5.1-codex-mini-low", "temperature": 0.2, "stop": ["END"]}
    answer = service.post(CHAT, asked, {"x-codexproxy-dry-run": "1"})
    assert answer.status == 200
    assert sim.turns() == []
    told = answer.json
    assert told["ignored"] == ["temperature"]
    assert set(told["adapted"]) == {"stop:emulated", "reasoning.effort:low->medium"}
    assert told["emulated"] == {"stop": ["END"]}
    (sent,) = told["upstream"]
    assert sent["body"]["instructions"] == "be brief"
    assert sent["body"]["model"] == "gpt-5.1-codex-mini"
    assert sent["headers"]["Authorization"] == "Bearer ***"
    real = service.post(CHAT, asked)
    assert real.status == 200
    body = sim.last_turn()["json"]
    assert body == {**sent["body"], "prompt_cache_key": body["prompt_cache_key"]}


def test_an_unsupported_parameter_is_dropped_once_and_remembered(
    serve: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = serve()
    refused = {"status": 400, "json": {"detail": "Unsupported parameter: parallel_tool_calls"}}
    sim.script(refused)
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    asked = {**ASK, "tools": tools, "parallel_tool_calls": True}
    first = service.post(CHAT, asked)
    assert first.status == 200
    assert "healed:drop:parallel_tool_calls" in first.headers["x-codexproxy-adapted"]
    served = [turn for turn in sim.turns() if turn["status"] != 401]
    assert [("parallel_tool_calls" in turn["json"]) for turn in served] == [True, False]
    second = service.post(CHAT, asked)
    assert "healed:drop:parallel_tool_calls" in second.headers["x-codexproxy-adapted"]
    assert "parallel_tool_calls" not in sim.last_turn()["json"]


def test_instructions_that_are_not_valid_are_replaced_by_the_familys(
    serve: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = serve()
    sim.script({"status": 400, "json": {"detail": "Instructions are not valid"}})
    assert service.post(CHAT, ASK).status == 200
    body = sim.last_turn()["json"]
    assert body["instructions"] != "be brief"
    assert body["input"][0]["role"] == "developer"
    assert body["input"][0]["content"][0]["text"] == "be brief"


def test_a_change_that_did_not_help_is_not_made_again(serve: Callable[..., Service], sim: SimulatorClient) -> None:
    service = serve()
    sim.script({"status": 400, "json": {"detail": "Instructions are not valid"}}, repeat=2)
    refused = service.post(CHAT, ASK)
    assert (refused.status, refused.code) == (400, "upstream_rejected")
    answer = service.post(CHAT, ASK)
    assert answer.status == 200
    assert "x-codexproxy-adapted" not in answer.headers
    assert sim.last_turn()["json"]["instructions"] == "be brief"


def test_requests_beyond_the_rate_are_429_and_say_when_to_come_again(serve: Callable[..., Service]) -> None:
    service = serve(RATE_LIMIT_PER_MINUTE="3")
    answers = [service.post(CHAT, ASK) for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[0].headers["x-ratelimit-remaining-requests"] == "2"
    assert answers[3].code == "rate_limit_exceeded"
    assert 1 <= int(answers[3].headers["retry-after"]) <= 60


def test_turns_beyond_the_slots_wait_and_then_are_429(serve: Callable[..., Service], sim: SimulatorClient) -> None:
    service = serve(CODEX_MAX_PARALLEL_REQUESTS="1", CODEX_QUEUE_TIMEOUT_SECONDS="0.5", WEB_CONCURRENCY="2")
    assert service.post(CHAT, ASK).status == 200
    sim.script({"text": "word " * 1000, "pace_ms": 20})
    sock = service.send(CHAT, {**ASK, "stream": True})
    wait_until(lambda: sim.counters()["open_streams"] == 1, "the long turn")
    answer = service.post(CHAT, ASK)
    assert (answer.status, answer.code) == (429, "queue_timeout")
    sock.close()
    wait_until(lambda: service.post(CHAT, ASK).status == 200, "a free slot", 5)


def test_a_usage_limit_is_told_with_its_window(serve: Callable[..., Service], sim: SimulatorClient) -> None:
    service = serve()
    assert service.post(CHAT, ASK).status == 200
    sim.rules(usage_limit=True)
    answer = service.post(CHAT, ASK)
    assert (answer.status, answer.code) == (429, "usage_limit_reached")
    assert "%" in answer.json["error"]["message"]
    assert answer.long_wait > 0


SPENT = {"type": "usage_limit_reached", "message": "spent"}


@pytest.mark.parametrize("fields", [{"resets_in_seconds": 9000}, {}])
def test_a_usage_limit_without_quota_headers_claims_no_percentage(
    serve: Callable[..., Service], sim: SimulatorClient, fields: dict[str, Any]
) -> None:
    service = serve()
    assert service.post(CHAT, ASK).status == 200
    assert service.get("/v1/quota").json["providers"][0]["windows"]
    sim.script({"status": 429, "json": {"error": {**SPENT, **fields}}}, repeat=-1)
    for _ in range(2):  # the second is answered from what is remembered
        answer = service.post(CHAT, ASK)
        assert (answer.status, answer.code) == (429, "usage_limit_reached")
        assert "%" not in answer.json["error"]["message"]


BODIES: dict[str, dict[str, Any]] = {
    "/v1/responses": {"model": "gpt-5.2", "input": "hi"},
    CHAT: ASK,
    "/v1/completions": {"model": "gpt-5.2", "prompt": "hi"},
}


@pytest.mark.parametrize("inside", [True, False])
def test_a_long_wait_of_upstreams_is_told_as_a_moment(
    serve: Callable[..., Service], sim: SimulatorClient, inside: bool
) -> None:
    service = serve()
    limit = {"code": "rate_limit_exceeded", "message": "Slow down.", "resets_in_seconds": 900}
    failed = {"type": "response.failed", "response": {"id": "resp_1", "status": "failed", "error": limit}}
    raw = {"raw_text": f"event: response.failed\ndata: {json.dumps(failed)}\n\n"}
    sim.script(raw if inside else {"status": 429, "json": {"error": limit}}, repeat=-1)
    for path, body in BODIES.items():
        for stream in (False, True):
            answer = service.post(path, {**body, "stream": stream})
            if inside and stream and path == "/v1/responses":
                # Upstream's own event passes as it came.
                assert answer.body == raw["raw_text"].encode()
            else:
                assert 800 < answer.long_wait < 902


@pytest.mark.parametrize("seconds", [7, 60])
def test_a_short_wait_of_upstreams_is_told_in_seconds(
    serve: Callable[..., Service], sim: SimulatorClient, seconds: int
) -> None:
    service = serve()
    limit = {"code": "rate_limit_exceeded", "message": "Slow down."}
    sim.script({"status": 429, "json": {"error": limit}, "headers": {"retry-after": str(seconds)}}, repeat=-1)
    answer = service.post(CHAT, ASK)
    assert (answer.status, answer.headers["retry-after"]) == (429, str(seconds))
    assert "x-should-retry" not in answer.headers
    assert "resets_at" not in answer.json["error"]


def test_a_limit_in_the_middle_of_a_chat_stream_tells_its_moment(service: Service, sim: SimulatorClient) -> None:
    limit = {"code": "usage_limit_reached", "message": "spent", "resets_at": int(time.time()) + 900}
    delta = {"type": "response.output_text.delta", "delta": "one "}
    failed = {"type": "response.failed", "response": {"id": "resp_1", "status": "failed", "error": limit}}
    frames = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in (delta, failed))
    sim.script({"raw_text": frames})
    answer = service.post(CHAT, {**ASK, "stream": True})
    error = next(json.loads(line[6:]) for line in answer.body.decode().split("\n\n") if '"error"' in line)["error"]
    assert error["resets_at"] == limit["resets_at"]
    assert time.strftime("%a %d %b, %H:%M", time.localtime(limit["resets_at"])) in error["message"]


@pytest.mark.parametrize("stream", [True, False])
def test_what_one_caller_did_wrong_never_shuts_the_provider_out(
    service: Service, sim: SimulatorClient, stream: bool
) -> None:
    sim.script({"status": 400, "json": {"detail": "No such thing"}}, repeat=12)
    for _ in range(12):
        assert service.post(CHAT, {**ASK, "stream": stream}).status == 400
    assert service.post(CHAT, ASK).status == 200


def config(tmp_path: Path, value: dict[str, Any]) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(value))
    return str(path)


def test_a_switch_that_permits_local_providers_only_refuses_all_others(
    serve: Callable[..., Service], tmp_path: Path
) -> None:
    far = {
        "providers": [
            {"name": "far", "url": "https://relay.example/v1", "providerType": "openai", "apiKeyEnv": "RELAY"}
        ]
    }
    service = serve(CODEX_LOCAL_ONLY="1", CONFIG_PATH=config(tmp_path, far), RELAY="k")
    answer = service.post(CHAT, ASK)
    assert (answer.status, answer.code) == (400, "local_only")
