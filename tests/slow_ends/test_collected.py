"""A finished request leaves nothing that only the cyclic collector would free, and with it no conversation."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codexproxy.simulator import recipes
from codexproxy.simulator.client import SimulatorClient
from tests.server.talk import MODEL
from tests.service import Service, wait_until

TIMES = 20
# What Werkzeug leaves of a request: the matcher of its routes is a function that calls itself. Of ours nothing is
# left; the smallest circle through a request log or a stream is some twenty objects more.
MATCHER = 8

Json = dict[str, Any]

SAY = [{"role": "user", "content": "hi"}]
CHAT: Json = {"model": MODEL, "messages": SAY}
RESPONSE: Json = {"model": MODEL, "input": "hi"}


@pytest.fixture
def counted(sim: SimulatorClient, tmp_path: Path) -> Iterator[Service]:
    """A service of one worker whose collector is off."""
    service = Service(tmp_path, sim)
    service.application = "tests.slow_ends.collected:app"
    with service:
        yield service


def chat(service: Service, **fields: Any) -> None:
    assert service.post("/v1/chat/completions", {**CHAT, **fields}).status == 200


def refused(service: Service) -> None:
    assert service.post("/v1/chat/completions", {"model": MODEL, "messages": 7}).status == 400


def rejected(service: Service) -> None:
    service.sim.script(recipes.http(400, {"detail": "no"}))
    assert service.post("/v1/chat/completions", CHAT).status == 400


def cut(service: Service, **fields: Any) -> None:
    service.sim.script(recipes.cut_after({"text": "one two three"}, "reset", event=6), repeat=2)
    service.post("/v1/chat/completions", {**CHAT, **fields})


def garbage(service: Service) -> None:
    assert service.post("/v1/chat/completions", b"{").status == 400


def rehearsed(service: Service) -> None:
    assert service.post("/v1/chat/completions", CHAT, {"x-codexproxy-dry-run": "1"}).status == 200


def unknown(service: Service) -> None:
    assert service.get("/v1/nothing").status == 404


def stored(service: Service, **fields: Any) -> None:
    assert service.post("/v1/responses", {**RESPONSE, **fields}).status == 200


def again(service: Service) -> None:
    id = service.post("/v1/responses", RESPONSE).json["id"]
    assert service.get(f"/v1/responses/{id}").status == 200
    assert service.get(f"/v1/responses/{id}?stream=true").status == 200


def compacted(service: Service) -> None:
    assert service.post("/v1/responses/compact", RESPONSE).status == 200


def behind(service: Service, **fields: Any) -> None:
    answer = service.post("/v1/responses", {**RESPONSE, "background": True, **fields})
    if not fields:
        path = f"/v1/responses/{answer.json['id']}"
        wait_until(lambda: service.get(path).json["status"] == "completed", "the end of the answer")


def left(service: Service) -> None:
    service.sim.script({"text": "word " * 100, "pace_ms": 20})
    sock = service.send("/v1/chat/completions", {**CHAT, "stream": True})
    assert sock.recv(100)
    sock.close()
    wait_until(lambda: service.sim.counters()["open_streams"] == 0, "the end of the turn upstream")


def listed(service: Service) -> None:
    for path in ("/v1/models", "/v1/quota", "/health", "/metrics"):
        assert service.get(path).status == 200


KINDS: dict[str, Callable[[Service], None]] = {
    "whole chat": chat,
    "streamed chat": lambda service: chat(service, stream=True),
    "two answers": lambda service: chat(service, n=2),
    "two streamed answers": lambda service: chat(service, n=2, stream=True),
    "stop words": lambda service: chat(service, stop=["w"], stream=True),
    "completion": lambda service: service.post("/v1/completions", {"model": MODEL, "prompt": "hi"}) and None,
    "stored response": stored,
    "streamed response": lambda service: stored(service, stream=True),
    "response kept by nobody": lambda service: stored(service, store=False),
    "read again": again,
    "in the background": behind,
    "in the background, streamed": lambda service: behind(service, stream=True),
    "compacted": compacted,
    "refused by us": refused,
    "refused upstream": rejected,
    "cut upstream": cut,
    "stream cut upstream": lambda service: cut(service, stream=True),
    "garbage": garbage,
    "dry run": rehearsed,
    "unknown path": unknown,
    "client that leaves": left,
    "pages of numbers": listed,
}


def left_by(service: Service, ask: Callable[[Service], None]) -> str:
    """What requests of a kind leave to the collector; empty when it is no more than the route matcher's own."""
    service.get("/_collector/off")
    for _ in range(TIMES):
        ask(service)
    told = service.get("/_collector/left").json
    found = told["found"]
    if sum(found.values()) <= (MATCHER + 1) * told["requests"]:
        return ""
    return f"{sum(found.values()) // TIMES} a time: {json.dumps(found)[:400]}"


def test_a_finished_request_leaves_nothing_to_the_collector(counted: Service) -> None:
    left: dict[str, str] = {}
    for name, ask in KINDS.items():
        ask(counted)  # What is made once is made by now.
        # One exception on a busy machine leaves its frames once; what each request leaves is there again.
        told = left_by(counted, ask) and left_by(counted, ask)
        if told:
            left[name] = told
    assert not left, "objects left to the collector:\n" + "\n".join(f"{name}: {what}" for name, what in left.items())


def test_forty_requests_of_ten_megabytes_one_after_the_other_take_the_memory_of_a_few(counted: Service) -> None:
    def ask() -> None:
        chat(counted, messages=[{"role": "user", "content": letter * 1_000_000} for letter in "abcdefghij"])

    def resident() -> int:
        (line,) = (line for line in Path(f"/proc/{worker}/status").read_text().splitlines() if "RssAnon" in line)
        return int(line.split()[1]) // 1024

    worker = counted.worker()
    ask()
    counted.get("/_collector/off")
    before = resident()
    for _ in range(40):
        ask()
    # Forty conversations would be 400 MB.
    assert resident() - before < 100
