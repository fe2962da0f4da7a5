"""The worst inputs against the real service: each is answered or refused soon, and nobody else notices."""

import time
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.growth.conversations import CHAT, UNFOLDING
from tests.server.talk import MODEL
from tests.service import Answer, Service

Serve = Callable[..., Service]
LIMIT = 2_000_000


@pytest.fixture
def small(serve: Serve) -> Service:
    """One worker, and a bound for bodies that is reached soon."""
    return serve(WEB_CONCURRENCY="1", MAX_BODY_BYTES=str(LIMIT))


def test_references_are_refused_beyond_the_largest_body(small: Service) -> None:
    item = {"type": "message", "role": "user", "content": "x" * 300_000, "id": "msg_large"}
    first = small.post("/v1/responses", {"model": MODEL, "input": [item]})
    assert first.status == 200
    reference = {"type": "item_reference", "id": "msg_large"}
    assert small.post("/v1/responses", {"model": MODEL, "input": [reference] * 6}).status == 200
    refused = small.post("/v1/responses", {"model": MODEL, "input": [reference] * 7})
    assert (refused.status, refused.code) == (413, "body_too_large")


def test_a_chain_is_refused_beyond_the_largest_body(small: Service) -> None:
    previous: dict[str, Any] = {}
    answers: list[Answer] = []
    for number in range(4):
        text = f"{number} " + "x" * 600_000
        answers.append(small.post("/v1/responses", {"model": MODEL, "input": text, **previous}))
        previous = {"previous_response_id": answers[-1].json.get("id")} if answers[-1].status == 200 else previous
    answers.append(small.post("/v1/responses", {"model": MODEL, "input": "and?", **previous}))
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 413]
    assert answers[-1].json["error"]["param"] == "previous_response_id"


def test_copies_of_a_conversation_are_refused_beyond_the_largest_body(small: Service) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "x" * 300_000}], "n": 8}
    refused = small.post("/v1/chat/completions", body)
    assert (refused.status, refused.code, refused.json["error"]["param"]) == (413, "body_too_large", "n")


def test_any_number_of_unknown_fields_makes_one_short_header(small: Service) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "say:hi"}]}
    answer = small.post("/v1/chat/completions", {**body, **{f"unknown {n} ä": 1 for n in range(60_000)}})
    assert answer.status == 200
    assert 1_000 < len(answer.headers["x-codexproxy-ignored"]) <= 2_000


# Rows of the tables, so many times their smallest size: megabytes of what is hardest to read.
WORST = {
    "details without an end of the tag": 30,
    "details": 20,
    "calls that share an id, then results": 25,
    "calls without ids": 25,
    "calls that are alike": 25,
    "allowed tools": 30,
    "plain messages": 40,
    "parts": 40,
    "strict tools that unfold": 1,
    "references to one wide schema": 1,
    "unknown fields": 60,
}


class Neighbour(Thread):
    """Asks /health all the time, and reads a paced stream meanwhile."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self.health: list[float] = []
        self.streams: list[str] = []
        self._service = service
        self._over = False

    def stop(self) -> None:
        """Ends it."""
        self._over = True
        self.join()

    def run(self) -> None:
        """Goes on until stopped."""
        reader = Thread(target=self._read)
        reader.start()
        while not self._over:
            began = time.monotonic()
            assert self._service.get("/health").status == 200
            self.health.append(time.monotonic() - began)
            time.sleep(0.01)
        reader.join()

    def _read(self) -> None:
        while not self._over:
            body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "say:one two three four"}]}
            self.streams.append(self._service.post("/v1/chat/completions", body).body.decode()[-14:])


def test_while_the_worst_inputs_run_others_go_on(serve: Serve, sim: SimulatorClient) -> None:
    sim.settings(pace_ms=20)
    service = serve(WEB_CONCURRENCY="1")
    neighbour = Neighbour(service)
    neighbour.start()
    took: dict[str, float] = {}
    for name, times in WORST.items():
        size, payload = (CHAT | UNFOLDING)[name]
        began = time.monotonic()
        answer = service.post("/v1/chat/completions", {**payload(size * times), "model": MODEL})
        took[name] = round(time.monotonic() - began, 2)
        assert answer.status in (200, 400), (name, answer.status, answer.body[:300])
    neighbour.stop()
    # Before there were bounds, most of these took minutes, and the worker was killed meanwhile.
    assert max(took.values()) < 10, took
    assert neighbour.streams and set(neighbour.streams) == {"data: [DONE]\n\n"}
    assert max(neighbour.health) < 2.0, sorted(neighbour.health)[-5:]
    assert "WORKER TIMEOUT" not in service.log
