"""What keys change while the service runs: who is let in, who has to wait, and which models a key sees."""

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from codexproxy.access.keys import hash_key
from codexproxy.simulator.client import SimulatorClient
from tests.patience import patient
from tests.server.routes import application
from tests.service import Answer, Service, wait_until

HELLO = {"model": "gpt-5.2", "input": "hi"}
OWNER = "the-key-of-the-owner"
KEYS = {"users": [{"name": "ann", "apiKeyHash": hash_key("ann-key")}]}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@contextmanager
def running(folder: Path, sim: SimulatorClient, *arguments: str, **environ: str) -> Iterator[Service]:
    """A service with arguments of gunicorn's own."""
    service = Service(folder, sim, **environ)
    service.login()
    try:
        yield service.start(*arguments)
    finally:
        service.stop()


@pytest.mark.parametrize("bind", ["127.0.0.1", "0.0.0.0"])
def test_when_the_last_key_is_gone_only_a_private_address_is_as_before(
    tmp_path: Path, sim: SimulatorClient, bind: str
) -> None:
    service = Service(tmp_path, sim)
    keys = service.data_dir / "keys.json"
    keys.write_text(json.dumps(KEYS))
    service.login()
    try:
        # What counts is where gunicorn listens, not what the settings say.
        service.start("--bind", f"{bind}:{service.port}")
        assert [service.get("/v1/models", headers).status for headers in ({}, bearer("ann-key"))] == [401, 200]
        keys.write_text('{"users": []}')
        after = [service.get(path).status for path in ("/v1/models", "/auth/status", "/metrics")]
        assert after == ([200] * 3 if bind == "127.0.0.1" else [401] * 3)
        assert service.get("/v1/models", bearer("ann-key")).status == after[0]
        keys.write_text(json.dumps(KEYS))
        assert [service.get("/v1/models", headers).status for headers in ({}, bearer("ann-key"))] == [401, 200]
    finally:
        service.stop()


def test_a_new_worker_of_a_public_service_refuses_everybody_too_after_its_last_key(
    tmp_path: Path, sim: SimulatorClient
) -> None:
    service = Service(tmp_path, sim)
    keys = service.data_dir / "keys.json"
    keys.write_text(json.dumps(KEYS))
    service.login()
    try:
        service.start("--bind", f"0.0.0.0:{service.port}")
        keys.write_text('{"users": []}')
        worker = service.worker()
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: service.workers() not in ([], [worker]), "another worker")
        assert [service.get(path).status for path in ("/v1/models", "/auth/status", "/metrics")] == [401] * 3
    finally:
        service.stop()


def from_afar(service: Service, address: str, path: str, headers: dict[str, str]) -> Answer:
    """One request whose connection comes from another address, as a balancer with the PROXY protocol tells."""
    connection = service.connect()
    connection.sock = socket.create_connection(("127.0.0.1", service.port), patient())
    connection.sock.sendall(f"PROXY TCP4 {address} 127.0.0.1 4000 3000\r\n".encode())
    connection.request("GET", path, headers=headers)
    answer = Answer(connection.getresponse())
    connection.close()
    return answer


def test_wrong_keys_from_one_address_end_in_a_pause_for_that_address_alone(
    tmp_path: Path, sim: SimulatorClient
) -> None:
    with running(tmp_path, sim, "--proxy-protocol", "v1", PROXY_API_KEY=OWNER) as service:
        for number in range(20):
            header = {"x-api-key": f"guess {number}"}
            assert from_afar(service, "203.0.113.9", "/v1/models", header).code == "invalid_api_key"
        for key in ("guess 21", OWNER):
            answer = from_afar(service, "203.0.113.9", "/v1/models", {"x-api-key": key})
            assert (answer.status, answer.code) == (429, "too_many_attempts")
            assert answer.json["error"]["type"] == "rate_limit_error"
            assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert from_afar(service, "203.0.113.9", "/health", {"x-api-key": "guess"}).status == 200
        assert from_afar(service, "203.0.113.9", "/v1/models", {}).code == "invalid_api_key"
        assert from_afar(service, "203.0.113.10", "/v1/models", bearer(OWNER)).status == 200
        # A proxy of this machine brings everybody under one address.
        assert {service.get("/v1/models", bearer("wrong")).status for _ in range(40)} == {401}
        assert service.get("/v1/models", bearer(OWNER)).status == 200
        assert service.log.count("wrong keys came from 203.0.113.9") == 1
        assert "guess 3" not in service.log


def test_a_guess_is_counted_where_asking_is_open_to_all_and_the_login_is_not(tmp_path: Path) -> None:
    app = application(tmp_path, PROXY_API_KEY=OWNER, ALLOW_UNAUTHENTICATED="1")
    client = app.test_client()

    def status(path: str, key: str) -> int:
        peer = {"REMOTE_ADDR": "203.0.113.9"}
        return client.get(path, headers=bearer(key), environ_overrides=peer).status_code

    # Clients that insist on a key may send any, as often as they like.
    assert {status("/models", "dummy") for _ in range(50)} == {200}
    assert {status("/auth/status", f"guess {number}") for number in range(20)} == {401}
    assert status("/auth/status", OWNER) == 429


@pytest.fixture(params=["", "1"], ids=["lenient", "strict"])
def limited(request: pytest.FixtureRequest, serve: Callable[..., Service], tmp_path: Path) -> Service:
    """A service with a key for one model and one alias."""
    users = [{"name": "ann", "apiKeyHash": hash_key("ann-key"), "models": ["gpt-5.2", "mine"]}]
    config = tmp_path / "config.json"
    aliases = {"mine": "gpt-5.1-codex-mini", "theirs": "gpt-5.1"}
    config.write_text(json.dumps({"users": users, "models": {"aliases": aliases}}))
    return serve(CONFIG_PATH=str(config), PROXY_API_KEY=OWNER, CODEX_MODELS_STRICT=request.param)


def test_a_limited_key_sees_only_its_models_in_every_list_and_by_id(limited: Service, sim: SimulatorClient) -> None:
    ann, owner = bearer("ann-key"), bearer(OWNER)
    every = {model["id"] for model in limited.get("/v1/models", owner).json["data"]}
    others = every - {"gpt-5.2", "mine"}
    assert len(others) > 2
    assert {model["id"] for model in limited.get("/v1/models", ann).json["data"]} == {"gpt-5.2", "mine"}
    for path in ("/backend-api/codex/models", "/v1/models?client_version=0.169.0"):
        assert {model["slug"] for model in limited.get(path, ann).json["models"]} == {"gpt-5.2"}
        assert {model["slug"] for model in limited.get(path, owner).json["models"]} > {"gpt-5.2"}
    for name in ("gpt-5.2", "mine", "gpt-5.2-high"):
        assert limited.get(f"/v1/models/{name}", ann).status == 200, name
    for name in (*others, "no-such-model"):
        answer = limited.get(f"/v1/models/{name}", ann)
        assert (answer.status, answer.code) == (404, "model_not_found")
        told = answer.json["error"]["message"].partition(" does not exist")[2]
        assert not [other for other in others if other in told]
        assert limited.get(f"/v1/models/{name}", owner).status == (200 if name in every else 404)


def test_a_refused_model_tells_a_limited_key_of_no_other(limited: Service, sim: SimulatorClient) -> None:
    every = {model["id"] for model in limited.get("/v1/models", bearer(OWNER)).json["data"]}
    for model in ("gpt-5.4", "no-such-model", "theirs"):
        answer = limited.post("/v1/responses", {"model": model, "input": "hi"}, bearer("ann-key"))
        assert (answer.status, answer.code) == (404, "model_not_found"), model
        told = answer.json["error"]["message"].replace(model, "")
        assert not [other for other in every - {"gpt-5.2", "mine"} if other in told], told
    assert sim.turns() == []


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/responses/compact"])
def test_a_dry_run_shows_a_limited_key_no_model_but_its_own(limited: Service, sim: SimulatorClient, path: str) -> None:
    def preview(model: str, key: str) -> Answer:
        return limited.post(path, {"model": model, "input": "hi"}, {**bearer(key), "x-codexproxy-dry-run": "1"})

    for model in ("gpt-5.1", "theirs"):
        assert preview(model, OWNER).json["upstream"][0]["body"]["model"] == "gpt-5.1"
        answer = preview(model, "ann-key")
        assert (answer.status, answer.code) == (404, "model_not_found"), model
    assert "gpt-5.1" not in answer.json["error"]["message"].replace("gpt-5.1-codex-mini", "")
    assert preview("mine", "ann-key").json["upstream"][0]["body"]["model"] == "gpt-5.1-codex-mini"
    assert sim.turns() == []
    assert limited.post("/v1/responses", {"model": "mine", "input": "hi"}, bearer("ann-key")).status == 200


def test_the_tag_on_a_limited_keys_turn_is_that_of_its_own_list(limited: Service) -> None:
    for key in ("ann-key", OWNER):
        tag = limited.get("/backend-api/codex/models", bearer(key)).headers["etag"]
        turn = limited.post("/backend-api/codex/responses", {**HELLO, "stream": True}, bearer(key))
        assert turn.headers["x-models-etag"] == tag
        assert limited.get("/backend-api/codex/models", {**bearer(key), "if-none-match": tag}).status == 304


def test_no_name_that_a_caller_makes_up_leads_past_the_patterns_of_a_key(
    serve: Callable[..., Service], sim: SimulatorClient, tmp_path: Path
) -> None:
    users = [{"name": "ann", "apiKeyHash": hash_key("ann-key"), "models": ["*-mini*"]}]
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"users": users, "models": {"aliases": {"*": "gpt-5.2"}}}))
    service, ann = serve(CONFIG_PATH=str(config), PROXY_API_KEY=OWNER), bearer("ann-key")
    for name in ("gpt-5.2-minimal", "a-mini-model"):
        assert service.get(f"/v1/models/{name}", ann).status == 404, name
        assert service.get(f"/v1/models/{name}", bearer(OWNER)).status == 200, name
        for path, asked in (("/v1/responses", {"input": "hi"}), ("/v1/completions", {"prompt": "hi"})):
            answer = service.post(path, {"model": name, **asked}, ann)
            assert (answer.status, answer.code) == (404, "model_not_found"), (name, path)
    assert sim.turns() == []
    assert service.post("/v1/responses", {**HELLO, "model": "gpt-5.1-codex-mini-high"}, ann).status == 200
