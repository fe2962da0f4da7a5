"""Answers of one request count as the turns they are, and take nothing that is Bob's."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from codexproxy.access.slots import Slots
from codexproxy.simulator.client import SimulatorClient
from tests.patience import patient
from tests.service import Service, wait_until
from tests.two_callers.pair import MODEL, Pair, configuration, pair_on

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HI: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


def many(path: str, count: int) -> dict[str, Any]:
    return {**HI, "n": count} if path == CHAT else {"model": MODEL, "prompt": ["hi"] * count}


@pytest.fixture
def limited(serve: Callable[..., Service], sim: SimulatorClient, tmp_path: Path) -> Callable[..., Pair]:
    """Starts a service whose Ann has limits."""

    def start(environ: dict[str, str] | None = None, **limits: Any) -> Pair:
        return pair_on(serve(CONFIG_PATH=configuration(tmp_path, **limits), **(environ or {})), sim)

    return start


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("limits", [{"maxParallel": 1}, {"ratePerMinute": 3}, {"maxParallel": 1, "ratePerMinute": 3}])
def test_more_answers_than_a_key_may_ever_have_are_refused_at_once(
    limited: Callable[..., Pair], path: str, limits: dict[str, int]
) -> None:
    pair = limited(**limits)
    answer = pair.ann.ask(many(path, 128), path=path)
    assert (answer.status, answer.code) == (400, "invalid_value")
    assert (
        "128" in answer.json["error"]["message"]
        and f"may run {min(limits.values())} turns" in answer.json["error"]["message"]
    )
    assert pair.sim.turns() == []
    assert pair.ann.ask(HI, path=CHAT).status == 200


def test_more_answers_than_there_are_places_are_refused_at_once_and_nobody_waits(limited: Callable[..., Pair]) -> None:
    pair = limited({"CODEX_MAX_PARALLEL_REQUESTS": "2"})
    answer = pair.ann.ask(many(CHAT, 3), path=CHAT)
    assert (answer.status, answer.code) == (400, "invalid_value")
    assert pair.sim.turns() == []
    assert pair.ann.ask(many(CHAT, 2), path=CHAT).status == 200


def test_each_answer_is_a_hit_of_the_rate(limited: Callable[..., Pair]) -> None:
    pair = limited(ratePerMinute=5)
    assert pair.ann.ask(many(CHAT, 3), path=CHAT).headers["x-ratelimit-remaining-requests"] == "2"
    refused = pair.ann.ask(many(TEXT, 3), path=TEXT)
    assert (refused.status, refused.code) == (429, "rate_limit_exceeded")
    assert pair.ann.ask(many(TEXT, 2), path=TEXT).status == 200
    assert len(pair.sim.turns()) == 5


def test_each_answer_takes_a_place_of_its_key(limited: Callable[..., Pair]) -> None:
    pair = limited(maxParallel=3)
    pair.sim.script({"text": "word " * 20, "stalls": [{"gate": "go on", "event": 4}]}, repeat=-1)
    with ThreadPoolExecutor(1) as pool:
        two = pool.submit(pair.ann.ask, many(CHAT, 2), None, CHAT)
        wait_until(lambda: len(pair.sim.turns()) == 2, "two turns upstream")
        assert pair.ann.ask(many(CHAT, 2), path=CHAT).status == 429
        assert len(pair.sim.turns()) == 2
        pair.sim.open_gate("go on")
        assert two.result().status == 200
    assert pair.ann.ask(many(CHAT, 3), path=CHAT).status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_of_many_answers_stands_in_the_queue_once_and_bob_gets_his_turn(
    limited: Callable[..., Pair], stream: bool
) -> None:
    pair = limited({"CODEX_MAX_PARALLEL_REQUESTS": "4", "CODEX_MAX_QUEUED_REQUESTS": "3"})
    queue = Slots(pair.ann.service.data_dir / "slots", 4, 0)
    pair.sim.script({"text": "word " * 5, "stalls": [{"gate": "go on", "event": 4}]}, repeat=-1)
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(pair.ann.ask, {**many(CHAT, 4), "stream": stream}, None, CHAT) for _ in range(2)]
        wait_until(lambda: (queue.busy(), queue.waiting()) == (4, 1), "one request that runs and one that waits")
        bobs = pool.submit(pair.bob.ask, HI, None, CHAT)
        wait_until(lambda: queue.waiting() == 2, "Bob in the queue")
        pair.sim.open_gate("go on")
        assert Counter(answer.result(patient(30)).status for answer in [*asked, bobs]) == {200: 3}
    wait_until(lambda: queue.busy() == queue.waiting() == 0, "free places")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_requests_that_need_all_places_do_not_wait_for_each_other(limited: Callable[..., Pair], workers: str) -> None:
    pair = limited({"CODEX_MAX_PARALLEL_REQUESTS": "2", "WEB_CONCURRENCY": workers})
    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(caller.ask, {**many(CHAT, 2), "stream": bool(number % 2)}, None, CHAT)
            for number in range(4)
            for caller in (pair.ann, pair.bob)
        ]
        assert Counter(answer.result(patient(30)).status for answer in asked) == {200: 8}
    assert pair.sim.counters()["max_open_streams"] <= 2


def test_an_answer_whose_json_is_asked_for_again_needs_no_second_place(limited: Callable[..., Pair]) -> None:
    pair = limited({"CODEX_MAX_PARALLEL_REQUESTS": "2", "CODEX_QUEUE_TIMEOUT_SECONDS": "5"})
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 5}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    pair.sim.script({"text": '{"a": 1}'}, {"text": '{"a": 1}'}, {"text": '{"a": 7}'}, {"text": '{"a": 7}'})
    answer = pair.ann.ask({**many(CHAT, 2), "response_format": form}, path=CHAT)
    assert answer.status == 200, answer.body
    assert [choice["message"]["content"] for choice in answer.json["choices"]] == ['{"a": 7}', '{"a": 7}']
