"""Limits over real HTTP: exact for all workers together, and told truly."""

import http.client
import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from codexproxy.access.keys import hash_key
from codexproxy.simulator.client import SimulatorClient
from tests.service import Answer, Service, wait_until

ASK = {"model": "gpt-5.2", "input": "hi"}
ANN = {"authorization": "Bearer ann-key"}
BOB = {"authorization": "Bearer bob-key"}


@pytest.fixture
def limited(serve: Callable[..., Service], tmp_path: Path) -> Callable[..., Service]:
    """Starts a service of four workers whose user Ann has these limits."""

    def start(**limits: Any) -> Service:
        users = [{"name": "ann", "apiKeyHash": hash_key("ann-key"), **limits}]
        users.append({"name": "bob", "apiKeyHash": hash_key("bob-key")})
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"users": users}))
        return serve(CONFIG_PATH=str(config), WEB_CONCURRENCY="4")

    return start


def ask_often(service: Service, times: int) -> list[Answer]:
    """So many requests, one after the other, on one connection."""
    connection = service.connect()
    try:
        return [ask_on(connection) for _ in range(times)]
    finally:
        connection.close()


def ask_on(connection: http.client.HTTPConnection) -> Answer:
    connection.request("POST", "/v1/responses", json.dumps(ASK), ANN)
    return Answer(connection.getresponse())


def test_1000_requests_against_100_per_minute_are_100_answers(
    limited: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = limited(ratePerMinute=100)
    sim.settings(keep_requests=2000)
    with ThreadPoolExecutor(20) as pool:
        answers = [answer for found in pool.map(lambda _: ask_often(service, 50), range(20)) for answer in found]
    assert Counter(answer.status for answer in answers) == {200: 100, 429: 900}
    assert len(sim.turns()) == 100
    for answer in answers:
        assert answer.headers["x-ratelimit-limit-requests"] == "100"
        if answer.status == 429:
            assert answer.code == "rate_limit_exceeded"
            assert answer.headers["x-ratelimit-remaining-requests"] == "0"
            assert 1 <= int(answer.headers["retry-after"]) <= 60
    # Whoever else asks does not notice.
    assert service.post("/v1/responses", ASK, BOB).status == 200


def test_parallel_turns_of_a_key_are_counted_over_all_workers(
    limited: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = limited(maxParallel=3)
    sim.script({"text": "word " * 50, "stalls": [{"gate": "go on", "event": 6}]}, repeat=-1)
    with ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(service.post, "/v1/responses", ASK, ANN) for _ in range(12)]
        wait_until(lambda: sum(answer.done() for answer in answers) == 9, "nine refusals")
        assert service.post("/v1/models", None, BOB).status == 405  # nobody else is kept waiting
        sim.open_gate("go on")
        found = Counter(answer.result().status for answer in answers)
    assert found == {200: 3, 429: 9}
    # Their places are free again.
    assert service.post("/v1/responses", ASK, ANN).status == 200


def test_a_place_is_free_again_when_its_client_leaves(limited: Callable[..., Service], sim: SimulatorClient) -> None:
    service = limited(maxParallel=1)
    sim.script({"text": "word " * 1000, "pace_ms": 20})
    connection = service.connect()
    connection.request("POST", "/v1/responses", json.dumps({**ASK, "stream": True}), ANN)
    connection.getresponse().read(100)
    assert service.post("/v1/responses", ASK, ANN).status == 429
    connection.close()
    wait_until(lambda: service.post("/v1/responses", ASK, ANN).status == 200, "a free place", 5)


def test_tokens_of_a_day_are_counted_and_the_wait_is_until_midnight(
    limited: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = limited(tokensPerDay=50)
    sim.script({"text": "hi", "usage": {"input_tokens": 40, "output_tokens": 20, "total_tokens": 60}}, repeat=-1)
    first = service.post("/v1/responses", ASK, ANN)
    assert first.status == 200
    assert first.headers["x-ratelimit-limit-tokens"] == "50"
    answer = service.post("/v1/responses", ASK, ANN)
    assert (answer.status, answer.code) == (429, "insufficient_quota")
    assert answer.headers["x-ratelimit-remaining-tokens"] == "0"
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    assert abs(answer.long_wait - (midnight - now).total_seconds()) < 30
    assert service.post("/v1/responses", ASK, BOB).status == 200


def test_a_key_for_some_models_is_told_which(limited: Callable[..., Service], sim: SimulatorClient) -> None:
    service = limited(models=["gpt-5.2*"])
    for model in ("gpt-5.2", "gpt-5.2-codex-low", "xedoc-2.5-tpg"):
        assert service.post("/v1/responses", {**ASK, "model": model}, ANN).status == 200
    sent = len(sim.turns())
    answer = service.post("/v1/responses", {**ASK, "model": "gpt-5.1"}, ANN)
    assert (answer.status, answer.code) == (404, "model_not_found")
    assert "gpt-5.2*" in answer.json["error"]["message"]
    assert len(sim.turns()) == sent
    listed = {model["id"] for model in service.get("/v1/models", ANN).json["data"]}
    assert listed and all(name.startswith("gpt-5.2") for name in listed)
    assert listed < {model["id"] for model in service.get("/v1/models", BOB).json["data"]}
