"""The Codex CLI's own backend routes, and answers in the words it knows."""

import base64
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import zstandard

from codexproxy.simulator.client import SimulatorClient
from tests.apis.recorded import Recording, each_recording
from tests.server.talk import frames
from tests.service import Answer, Service, wait_until

Serve = Callable[..., Service]

THREAD = str(uuid.UUID(int=7))
CLI = {
    "user-agent": "codex_exec/0.169.0 (Debian 12.0.0; x86_64) xterm (codex_exec; 0.169.0)",
    "originator": "codex_exec",
    "session-id": THREAD,
    "thread-id": THREAD,
    "x-codex-turn-metadata": '{"turn_id":"t"}',
    "x-codex-turn-state": "sticky",
    "x-codex-beta-features": "remote_compaction_v2",
}
PATHS = ["/v1/responses", "/backend-api/codex/responses"]
TOOLS = [
    {"type": "function", "name": "exec_command", "strict": False, "parameters": {"type": "object", "properties": {}}},
    {
        "type": "custom",
        "name": "apply_patch",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
    },
    {"type": "namespace", "name": "image_gen", "tools": [{"type": "function", "name": "imagegen", "parameters": {}}]},
    {"type": "tool_search", "execution": "client"},
    {"type": "web_search", "external_web_access": False, "search_content_types": ["text", "image"]},
]


def message(role: str, text: str) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "id": f"msg_{uuid.uuid4()}", "role": role, "content": content}


def classic(text: str = "say:hi") -> dict[str, Any]:
    """What the CLI sends for most models (docs/reference/requests.md#body-of-a-turn)."""
    return {
        "model": "gpt-5.5",
        "stream": True,
        "input": [message("developer", "You are Codex."), message("user", text)],
        "tools": TOOLS,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": THREAD,
        "text": {"verbosity": "low"},
        "client_metadata": {"session_id": THREAD, "x-codex-window-id": f"{THREAD}:0"},
    }


def lite(text: str = "say:hi") -> dict[str, Any]:
    """What it sends for lite models (docs/reference/requests.md#the-responses-lite-shape)."""
    body = classic(text)
    tools = {
        "type": "additional_tools",
        "id": f"at_{uuid.uuid4()}",
        "role": "developer",
        "tools": body.pop("tools")[:2],
    }
    return {
        **body,
        "model": "gpt-6-sol",
        "input": [tools, *body["input"]],
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low", "context": "all_turns"},
    }


@pytest.fixture
def real(sim: SimulatorClient) -> SimulatorClient:
    """An upstream that takes what the real one takes from the real CLI."""
    sim.rules(instructions_required=False, lite_header_checks=True)
    return sim


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", [classic(), lite()], ids=["classic", "lite"])
def test_its_turns_go_upstream_as_it_wrote_them(
    service: Service, real: SimulatorClient, path: str, body: dict[str, Any]
) -> None:
    packed = zstandard.compress(json.dumps(body).encode())
    answer = service.post(path, packed, {**CLI, "content-encoding": "zstd", "content-type": "application/json"})
    assert answer.status == 200 and frames(answer.body)[-1]["type"] == "response.completed"
    turn = real.last_turn()
    assert turn["json"] == body
    for name in ("x-codex-turn-metadata", "x-codex-turn-state", "x-codex-beta-features", "session-id"):
        assert turn["headers"][name] == CLI[name]
    is_lite = body["model"] == "gpt-6-sol"
    assert (turn["headers"].get("x-openai-internal-codex-responses-lite") == "true") is is_lite


def test_it_hears_what_upstream_says_of_limits_and_nobody_else_does(service: Service, real: SimulatorClient) -> None:
    told = service.post("/v1/responses", classic(), CLI).headers
    assert told["x-codex-primary-used-percent"] == "12" and told["x-codex-turn-state"]
    assert told["openai-model"] == "gpt-5.5"
    others = service.post("/v1/responses", classic()).headers
    assert not [name for name in others if name.startswith("x-codex-")]


def test_a_usage_limit_is_told_in_its_own_words_to_it_and_in_ours_to_others(
    service: Service, real: SimulatorClient
) -> None:
    real.rules(usage_limit=True)
    answer = service.post("/v1/responses", classic(), CLI)
    error = answer.json["error"]
    assert (answer.status, error["type"], error["plan_type"]) == (429, "usage_limit_reached", "plus")
    assert isinstance(error["resets_at"], int) and error["resets_in_seconds"] > 0
    native = service.post("/backend-api/codex/responses", classic()).json["error"]
    assert native["type"] == "usage_limit_reached"
    other = service.post("/v1/responses", classic()).json["error"]
    assert (other["type"], other["code"]) == ("rate_limit_error", "usage_limit_reached")
    assert other["resets_at"] == pytest.approx(error["resets_at"], abs=5)


def test_other_refusals_it_knows_keep_their_names_too(serve: Serve, real: SimulatorClient) -> None:
    service = serve()
    not_included = {"status": 429, "json": {"error": {"type": "usage_not_included", "message": "Not on your plan."}}}
    real.script(not_included)
    answer = service.post("/v1/responses", classic(), CLI)
    assert (answer.status, answer.json["error"]["type"]) == (429, "usage_not_included")
    real.rules(overload_503=True)
    service = serve()
    answer = service.post("/v1/responses", classic(), CLI)
    assert (answer.status, answer.json["error"]["code"]) == (503, "server_is_overloaded")
    assert service.post("/v1/responses", classic()).code == "overloaded"


@pytest.mark.parametrize("path", [*PATHS, "/responses", "/v1/v1/responses/"])
def test_a_websocket_is_refused_at_once_so_that_it_goes_on_with_post(service: Service, path: str) -> None:
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "openai-beta": "responses_websockets=2026-02-06",
    }
    answer = service.get(path, {**CLI, **upgrade})
    assert (answer.status, answer.code) == (426, "websocket_not_offered")
    plain = service.get(path)
    assert (plain.status, plain.code) == (405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/v1/models", "/backend-api/codex/models"])
def test_the_catalogue_comes_in_its_own_format_with_a_tag(service: Service, path: str) -> None:
    answer = service.get(f"{path}?client_version=0.169.0")
    models = {model["slug"]: model for model in answer.json["models"]}
    assert {"gpt-5.5", "gpt-6-sol", "codex-auto-review"} <= set(models)  # hidden ones, too
    assert models["gpt-6-sol"]["use_responses_lite"] is True and models["gpt-5.5"]["context_window"]
    again = service.get(f"{path}?client_version=0.169.0", {"if-none-match": answer.headers["etag"]})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", answer.headers["etag"])
    assert service.get(f"{path}?client_version=0.169.0", {"if-none-match": '"else"'}).status == 200


@pytest.mark.parametrize("stream", [True, False])
def test_every_turn_names_the_catalogue_so_that_another_one_is_fetched(
    serve: Serve, real: SimulatorClient, stream: bool
) -> None:
    service = serve(CODEX_MODELS_REFRESH_SECONDS="1")

    def listed() -> Answer:
        return service.get("/backend-api/codex/models?client_version=0.169.0")

    def told() -> str | None:
        return service.post("/v1/responses", {**classic(), "stream": stream}, CLI).headers.get("x-models-etag")

    wait_until(lambda: listed().status == 200, "the catalogue")
    first = listed().headers["etag"]
    assert told() == first
    assert "x-models-etag" not in service.post("/v1/responses", classic()).headers
    real.settings(models=[{"slug": "my-model"}, {"slug": "gpt-5.5"}])
    wait_until(lambda: listed().headers["etag"] != first, "the new catalogue")
    assert told() == listed().headers["etag"]


def test_a_catalogue_that_is_not_known_is_no_empty_one(serve: Serve, sim: SimulatorClient) -> None:
    sim.rules(models_unavailable=True)
    answer = serve().get("/backend-api/codex/models?client_version=0.169.0")
    assert (answer.status, answer.code) == (502, "upstream_unavailable")


def test_it_finds_usage_and_accounts(service: Service) -> None:
    usage = service.get("/backend-api/wham/usage", CLI).json
    assert usage["plan_type"] == "plus" and usage["rate_limit"]["primary_window"]["used_percent"] == 12
    headers = {**CLI, "chatgpt-account-id": "acc_1"}
    accounts = service.get("/backend-api/wham/accounts/check", headers).json
    (account,) = accounts["accounts"]
    assert accounts["default_account_id"] == account["id"] == "acc_1"
    assert account["workspace_backend_origin"] == f"http://127.0.0.1:{service.port}"
    assert account["account_routing_override"] == "NO_CONSTRAINT"


# -- compaction -----------------------------------------------------------------------------

HISTORY = [
    {"type": "message", "role": "user", "content": "Find the bug."},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It is in line 3."}]},
    {"type": "message", "role": "user", "content": "Fix it."},
]
COMPACT = [f"{path}/compact" for path in PATHS]


@pytest.mark.parametrize("path", COMPACT)
def test_a_conversation_is_compacted_upstream(service: Service, sim: SimulatorClient, path: str) -> None:
    asked = {"model": "gpt-5.5", "input": HISTORY, "instructions": "Be Codex.", "temperature": 0.1}
    answer = service.post(path, asked)
    assert answer.status == 200
    *kept, sealed = answer.json["output"]
    assert [item["role"] for item in kept] == ["user", "user"] and sealed["type"] == "compaction"
    assert sim.turns() == []
    sent = sim.requests("/backend-api/codex/responses/compact")[-1]
    assert sent["json"]["instructions"] == "Be Codex." and len(sent["json"]["input"]) == 3
    follow_up = service.post("/v1/responses", {"model": "gpt-5.5", "input": [*answer.json["output"], *HISTORY[:1]]})
    assert follow_up.status == 200


def test_where_upstream_cannot_compact_a_summary_is_written(serve: Serve, sim: SimulatorClient) -> None:
    service = serve()
    sim.script({"status": 404, "json": {"detail": "Not Found"}}, endpoint="compact")
    sim.script({"text": "The bug was in line 3; it has to be fixed."})
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]
    answer = service.post("/v1/responses/compact", {"model": "gpt-5.5", "input": HISTORY, "tools": tools})
    assert answer.status == 200 and answer.json["object"] == "response.compaction"
    assert "compaction:emulated" in answer.headers["x-codexproxy-adapted"]
    *kept, summary = answer.json["output"]
    assert [item["content"] for item in kept] == ["Find the bug.", "Fix it."]
    assert summary["role"] == "user" and "it has to be fixed" in summary["content"][0]["text"]
    assert answer.json["usage"]["total_tokens"] > 0
    turn = sim.last_turn()["json"]
    assert "tools" not in turn and "notes" in turn["input"][-1]["content"][0]["text"]
    follow_up = service.post("/v1/responses", {"model": "gpt-5.5", "input": [*answer.json["output"], *HISTORY[:1]]})
    assert follow_up.status == 200


def test_a_stored_conversation_is_compacted_by_its_id(service: Service, sim: SimulatorClient) -> None:
    first = service.post("/v1/responses", {"model": "gpt-5.5", "input": "say:stored"}).json
    body = {"model": "gpt-5.5", "input": [], "previous_response_id": first["id"]}
    assert service.post("/v1/responses/compact", body).status == 200
    sent = sim.requests("/backend-api/codex/responses/compact")[-1]
    assert len(sent["json"]["input"]) >= 2 and "previous_response_id" not in sent["json"]


def test_a_compaction_is_a_turn_for_limits_and_slots(serve: Serve, sim: SimulatorClient) -> None:
    service = serve(RATE_LIMIT_PER_MINUTE="2", CODEX_MAX_PARALLEL_REQUESTS="1", CODEX_QUEUE_TIMEOUT_SECONDS="0.2")
    sim.script({"text": "word " * 3000, "pace_ms": 20})
    sock = service.send("/v1/responses", {"model": "gpt-5.5", "input": "hi", "stream": True})
    wait_until(lambda: sim.counters()["open_streams"] == 1, "the turn upstream")
    answer = service.post("/v1/responses/compact", {"model": "gpt-5.5", "input": HISTORY})
    assert (answer.status, answer.code) == (429, "queue_timeout")
    answer = service.post("/v1/responses/compact", {"model": "gpt-5.5", "input": HISTORY})
    assert (answer.status, answer.code) == (429, "rate_limit_exceeded")
    sock.close()


def test_what_would_be_compacted_can_be_looked_at_first(service: Service, sim: SimulatorClient) -> None:
    answer = service.post(COMPACT[0], {"model": "gpt-5.5", "input": HISTORY}, {"x-codexproxy-dry-run": "1"})
    assert answer.json["dry_run"] is True
    assert sim.requests("/backend-api/codex/responses/compact") == []


def test_an_upstream_that_refuses_the_conversation_is_heard(serve: Serve, sim: SimulatorClient) -> None:
    service = serve()
    sim.script({"status": 400, "json": {"detail": "Unsupported parameter: tools"}}, endpoint="compact")
    answer = service.post("/v1/responses/compact", {"model": "gpt-5.5", "input": HISTORY})
    assert (answer.status, answer.json["error"]["message"]) == (400, "Unsupported parameter: tools")


# -- streams --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@each_recording()
def test_recorded_streams_pass_byte_for_byte(
    service: Service, sim: SimulatorClient, recording: Recording, path: str
) -> None:
    sim.rules(model_supported=False, instructions_required=False)
    sim.script({"raw_base64": base64.b64encode(recording.stream).decode(), "chunking": 1021})
    answer = service.post(path, {**classic(), **recording.asked}, CLI)
    assert answer.status == 200
    assert answer.body == recording.stream
