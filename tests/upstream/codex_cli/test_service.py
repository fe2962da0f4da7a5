"""The service with the CLI as its provider: the same clients cannot tell, but by the header."""

import http.client
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI, RateLimitError

from codexproxy.access.key_file import KeyFile
from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import say
from tests.contracts.backend_stages import eventually, processes_of_home
from tests.fakes.codex_cli import FakeCli
from tests.patience import patient
from tests.service import Service

QUESTION = [{"role": "user", "content": "hi"}]


@pytest.fixture
def cli(tmp_path: Path) -> FakeCli:
    return FakeCli(tmp_path)


@pytest.fixture
def service(cli: FakeCli, serve: Callable[..., Service]) -> Iterator[Service]:
    """Two workers whose only provider is the fake CLI."""
    yield serve(
        login=False,
        CODEX_PROVIDER="codex-cli",
        CODEX_BIN=str(cli.bin),
        CODEX_HOME=str(cli.home),
        CODEX_MAX_PARALLEL_REQUESTS="2",
        CODEX_QUEUE_TIMEOUT_SECONDS="1",
        HEARTBEAT_SECONDS="0.3",
        WEB_CONCURRENCY="2",
    )


@pytest.fixture
def openai(service: Service) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{service.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def runs(service: Service) -> list[Path]:
    return list((service.data_dir / "runs").iterdir())


def test_every_dialect_is_answered(openai: OpenAI, service: Service, cli: FakeCli) -> None:
    cli.play({"think": ["**Plan**"]}, {"say": "Hello world", "deltas": ["Hello ", "world"]}, {"done": {}})
    whole = openai.chat.completions.with_raw_response.create(model="gpt-5.5", messages=QUESTION)
    assert whole.headers["x-codexproxy-backend"] == "default"
    assert whole.parse().choices[0].message.content == "Hello world"
    assert whole.parse().usage.total_tokens == 15
    stream = openai.chat.completions.create(model="gpt-5.5", messages=QUESTION, stream=True)
    assert [chunk.choices[0].delta.content for chunk in stream if chunk.choices and chunk.choices[0].delta.content] == [
        "Hello ",
        "world",
    ]
    assert openai.responses.create(model="gpt-5.5", input="hi").output_text == "Hello world"
    with openai.responses.stream(model="gpt-5.5", input="hi") as events:
        assert events.get_final_response().output_text == "Hello world"
    assert openai.completions.create(model="gpt-5.5", prompt="hi").choices[0].text == "Hello world"


def test_a_model_the_cli_refuses_is_404_stream_and_not(openai: OpenAI, cli: FakeCli) -> None:
    cli.play({"fail": "The model `gpt-5.5` does not exist or you do not have access to it.", "info": "modelNotFound"})
    for stream in (False, True):
        with pytest.raises(NotFoundError) as refusal:
            openai.chat.completions.create(model="gpt-5.5", messages=QUESTION, stream=stream)
        assert refusal.value.code == "model_not_found"
        with pytest.raises(NotFoundError) as refusal:
            openai.responses.create(model="gpt-5.5", input="hi", stream=stream)
        assert refusal.value.code == "model_not_found"


def test_what_the_cli_cannot_do_is_refused_or_reported(openai: OpenAI) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    with pytest.raises(BadRequestError) as refusal:
        openai.chat.completions.create(model="gpt-5.5", messages=QUESTION, tools=[tool])
    assert (refusal.value.code, refusal.value.param) == ("unsupported_parameter", "tools")
    with pytest.raises(BadRequestError) as refusal:
        openai.chat.completions.create(model="gpt-5.5", messages=QUESTION, n=2)
    assert (refusal.value.code, refusal.value.param) == ("unsupported_parameter", "n")
    answer = openai.chat.completions.with_raw_response.create(
        model="gpt-5.5", messages=QUESTION, tools=[tool], tool_choice="none"
    )
    assert "tools" in answer.headers["x-codexproxy-ignored"].split(",")


def begin(service: Service, stream: bool = True) -> http.client.HTTPConnection:
    """A chat request under way."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=patient(20))
    body: dict[str, Any] = {"model": "gpt-5.5", "messages": QUESTION, "stream": stream}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    return connection


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_takes_its_process_with_it(service: Service, cli: FakeCli, stream: bool) -> None:
    cli.play({"hang": True})
    connection = begin(service, stream)
    eventually(lambda: len(processes_of_home(cli.home)) == 1)
    connection.close()
    eventually(lambda: processes_of_home(cli.home) == [])
    eventually(lambda: runs(service) == [])


def test_a_queue_that_is_too_long_is_429_and_leaves_are_no_harm(service: Service, openai: OpenAI, cli: FakeCli) -> None:
    cli.play({"hang": True})
    connections = [begin(service) for _ in range(2)]
    eventually(lambda: len(processes_of_home(cli.home)) == 2)
    with pytest.raises(RateLimitError) as refusal:
        openai.chat.completions.create(model="gpt-5.5", messages=QUESTION)
    assert refusal.value.code == "queue_timeout"
    assert int(refusal.value.response.headers["retry-after"]) >= 1
    for connection in connections:
        connection.close()
    eventually(lambda: processes_of_home(cli.home) == [])
    cli.play({"say": "Hello"}, {"done": {}})
    assert openai.chat.completions.create(model="gpt-5.5", messages=QUESTION).choices[0].message.content == "Hello"


def test_a_service_that_stops_leaves_no_process(service: Service, openai: OpenAI, cli: FakeCli) -> None:
    openai.chat.completions.create(model="gpt-5.5", messages=QUESTION)
    cli.play({"hang": True})
    connection = begin(service)
    eventually(lambda: len(cli.calls()) == 2)
    assert service.process is not None
    service.process.send_signal(signal.SIGINT)
    service.process.wait(patient(30))
    connection.close()
    eventually(lambda: processes_of_home(cli.home) == [])
    assert runs(service) == []


def test_a_killed_worker_leaves_nothing_for_long(service: Service, openai: OpenAI, cli: FakeCli) -> None:
    cli.play({"leave": 60}, {"hang": True})
    connection = begin(service)
    eventually(lambda: len(processes_of_home(cli.home)) == 2)
    parent = next(
        int(line.split()[1])
        for line in Path(f"/proc/{cli.calls()[0]['pid']}/status").read_text().splitlines()
        if line.startswith("PPid:")
    )
    os.kill(parent, signal.SIGKILL)
    connection.close()
    cli.play({"say": "Hello"}, {"done": {}})
    # The worker that takes its place sweeps up when it starts.
    eventually(lambda: len(processes_of_home(cli.home)) == 0, 20)
    answer = openai.chat.completions.create(model="gpt-5.5", messages=QUESTION)
    assert answer.choices[0].message.content == "Hello"


def test_a_missing_cli_is_a_502_with_the_way_out(serve: Callable[..., Service]) -> None:
    service = serve(login=False, CODEX_PROVIDER="codex-cli", CODEX_BIN="/nowhere/codex")
    answer = service.post("/v1/chat/completions", {"model": "gpt-5.5", "messages": QUESTION})
    assert (answer.status, answer.code) == (502, "codex_cli_failed")
    assert "npm install" in answer.json["error"]["message"]


def status_of(service: Service, key: str, **body: Any) -> tuple[int, dict[str, Any]]:
    """A chat turn with this key: its status and its body."""
    asked = json.dumps({"model": "gpt-5.5", "messages": QUESTION, **body})
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=patient(30))
    try:
        connection.request("POST", "/v1/chat/completions", asked, headers)
        answer = connection.getresponse()
        return answer.status, dict(json.loads(answer.read()))
    finally:
        connection.close()


def test_a_named_key_uses_the_cli_as_far_as_it_is_permitted(cli: FakeCli, serve: Callable[..., Service]) -> None:
    service = serve(
        login=False,
        CODEX_PROVIDER="codex-cli",
        CODEX_BIN=str(cli.bin),
        CODEX_HOME=str(cli.home),
        PROXY_API_KEY="own-key",
    )
    file = KeyFile(service.data_dir / "keys.json")
    none, read, write = file.add("none"), file.add("read", cli="read"), file.add("write", cli="write", cliNetwork=True)
    admin = file.add("admin", role="admin")
    writes = {"x_codex": {"sandbox": "workspace-write"}}
    online = {"x_codex": {"sandbox": "workspace-write", "network_access": True}}
    rows = [(none, {}, 403), (read, {}, 200), (read, writes, 403), (read, online, 403), (write, writes, 200)]
    rows += [(write, online, 200), (admin, online, 200), ("own-key", online, 200)]
    assert [status_of(service, key, **body)[0] for key, body, _ in rows] == [status for *_, status in rows]
    _, refusal = status_of(service, none)
    assert (refusal["error"]["type"], refusal["error"]["code"]) == ("permission_error", "cli_not_allowed")
    assert "codexproxy keys add NAME" in refusal["error"]["message"]


def test_a_key_without_the_cli_is_answered_by_the_other_provider(
    cli: FakeCli, serve: Callable[..., Service], sim: SimulatorClient, tmp_path: Path
) -> None:
    providers = [
        {"name": "local", "providerType": "codex-cli", "priority": 0},
        {"name": "remote", "providerType": "codex", "priority": 1},
    ]
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"providers": providers}))
    service = serve(CONFIG_PATH=str(config), CODEX_BIN=str(cli.bin), CODEX_HOME=str(cli.home))
    file = KeyFile(service.data_dir / "keys.json")
    none, read = file.add("none"), file.add("read", cli="read")
    sim.script(say("From the other"), repeat=-1)

    def said(key: str) -> str:
        return str(status_of(service, key)[1]["choices"][0]["message"]["content"])

    assert (said(none), said(read)) == ("From the other", "Hello world")
    status, refusal = status_of(service, none, model="cli/gpt-5.5")
    assert (status, refusal["error"]["code"]) == (403, "cli_not_allowed")
