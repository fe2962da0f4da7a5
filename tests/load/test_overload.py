"""More turns than places: a fair queue of bounded length, a refusal at once beyond it, and a service that stays awake."""

import json
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from codexproxy.access.keys import hash_key
from codexproxy.access.slots import Slots
from codexproxy.simulator.client import SimulatorClient
from tests.patience import patient
from tests.service import Answer, Service, wait_until

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
USERS = ("ann", "bob", "eve")


def ask(path: str, text: str, stream: bool = False) -> dict[str, Any]:
    """A request whose one message is this text."""
    field = {"messages": [{"role": "user", "content": text}]} if path == CHAT else {"input": text}
    return {"model": "gpt-5.2", "stream": stream, **field}


class Crowd:
    """Requests that wait on threads of their own."""

    def __init__(self, service: Service, places: int) -> None:
        self._service = service
        # Looks only: whoever names the folder sees the queue of all workers.
        self._slots = Slots(service.data_dir / "slots", places, 0)
        self._pool = ThreadPoolExecutor(64)
        self.answers: list[Future[Answer]] = []

    def add(self, text: str, user: str = "ann", path: str = RESPONSES) -> None:
        """Sends one more request."""
        headers = {"authorization": f"Bearer {user}-key"}
        self.answers.append(self._pool.submit(self._service.post, path, ask(path, text), headers))

    def fill(self, places: int) -> None:
        """Takes all places."""
        for number in range(places):
            self.add(f"holder {number}")
        wait_until(lambda: self._slots.busy() == places, "the taking of all places")

    def queue(self, texts: list[tuple[str, str]]) -> None:
        """Lets (user, text) after (user, text) join the queue, each behind the last."""
        for user, text in texts:
            expected = self._slots.waiting() + 1
            self.add(text, user)
            wait_until(lambda expected=expected: self._slots.waiting() == expected, f"{text} in the queue")  # type: ignore[misc]

    def waiting(self) -> int:
        """How many are in the queue."""
        return self._slots.waiting()

    def statuses(self) -> Counter[int]:
        """What all of them were answered."""
        return Counter(answer.result(patient(30)).status for answer in self.answers)


@pytest.fixture
def serve_users(serve: Callable[..., Service], tmp_path: Path) -> Callable[..., Service]:
    """Starts services with two workers and three users."""

    def start(**environ: str) -> Service:
        config = tmp_path / "config.json"
        users = [{"name": user, "apiKeyHash": hash_key(f"{user}-key")} for user in USERS]
        config.write_text(json.dumps({"users": users}))
        return serve(CONFIG_PATH=str(config), WEB_CONCURRENCY="2", **environ)

    return start


def hold(sim: SimulatorClient) -> None:
    """Lets every turn run until the gate opens."""
    sim.script({"text": "done", "stalls": [{"gate": "go", "event": 4}]}, repeat=-1)


def test_the_queue_gives_each_key_one_turn_in_a_round_and_keeps_the_order_of_its_turns(
    serve_users: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = serve_users(CODEX_MAX_PARALLEL_REQUESTS="1")
    hold(sim)
    crowd = Crowd(service, 1)
    crowd.fill(1)
    # One user has more in the queue than the others, who wait for one of its turns each, not for all.
    order = [(USERS[number % 3] if number % 2 else "ann", f"turn <{number}>") for number in range(12)]
    crowd.queue(order)
    sim.open_gate("go")
    assert crowd.statuses() == {200: 13}
    texts = [json.dumps(turn["json"]["input"]) for turn in sim.turns()][1:]
    rounds = Counter[str]()
    places = []
    for user, text in order:
        places.append((rounds[user], text))
        rounds[user] += 1
    expected = [text for _, text in sorted(places, key=lambda place: place[0])]
    assert expected != [text for _, text in order]
    assert expected == [next(text for _, text in order if text in sent) for sent in texts]


def test_whoever_finds_the_queue_full_is_told_at_once_and_the_others_get_their_answers(
    serve_users: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = serve_users(CODEX_MAX_PARALLEL_REQUESTS="2", CODEX_MAX_QUEUED_REQUESTS="5")
    hold(sim)
    crowd = Crowd(service, 2)
    crowd.fill(2)
    crowd.queue([("bob", f"waiter {number}") for number in range(5)])
    took = []
    for path in (CHAT, RESPONSES):
        for stream in (False, True):
            began = time.monotonic()
            answer = service.post(path, ask(path, "one too many", stream), {"authorization": "Bearer bob-key"})
            took.append(time.monotonic() - began)
            assert (answer.status, answer.code) == (503, "queue_full")
            assert answer.headers["retry-after"] == "5"
            assert answer.json["error"]["type"] == "upstream_error"
    assert min(took) < 0.2 and max(took) < 2
    assert crowd.waiting() == 5
    sim.open_gate("go")
    assert crowd.statuses() == {200: 7}
    assert not sim.turns("one too many")
    assert service.post(RESPONSES, ask(RESPONSES, "later"), {"authorization": "Bearer eve-key"}).status == 200


def test_a_client_that_leaves_the_queue_makes_room_in_it(
    serve_users: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = serve_users(CODEX_MAX_PARALLEL_REQUESTS="1", CODEX_MAX_QUEUED_REQUESTS="1", ALLOW_UNAUTHENTICATED="1")
    hold(sim)
    crowd = Crowd(service, 1)
    crowd.fill(1)
    with service.send(CHAT, ask(CHAT, "impatient", stream=True)):
        wait_until(lambda: crowd.waiting() == 1, "a place in the queue")
    wait_until(lambda: crowd.waiting() == 0, "room in the queue")
    crowd.queue([("bob", "patient")])
    sim.open_gate("go")
    assert crowd.statuses() == {200: 2}
    assert not sim.turns("impatient")


def test_places_of_clients_that_leave_at_any_moment_are_free_again(serve: Callable[..., Service]) -> None:
    service = serve(CODEX_MAX_PARALLEL_REQUESTS="50")
    until = time.monotonic() + 4

    def leave(seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < until:
            path = chance.choice((CHAT, RESPONSES))
            with service.send(path, ask(path, "hi", chance.random() < 0.7)):
                time.sleep(chance.uniform(0.0, 0.12))

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(leave, range(12)))
    slots = Slots(service.data_dir / "slots", 50, 0)
    wait_until(lambda: slots.busy() == slots.waiting() == 0, "the freeing of all places")


@contextmanager
def health_checks(service: Service, pause: float = 0.02) -> Iterator[list[float]]:
    """Asks /health again and again on one connection; the list fills with seconds."""
    took: list[float] = []
    over = threading.Event()

    def check() -> None:
        connection = service.connect()
        while not over.wait(pause):
            began = time.monotonic()
            connection.request("GET", "/health")
            answer = connection.getresponse()
            assert answer.status == 200 and answer.read()
            took.append(time.monotonic() - began)
        connection.close()

    checker = threading.Thread(target=check)
    checker.start()
    try:
        yield took
    finally:
        over.set()
        checker.join(patient(30))


def test_health_answers_within_50_ms_while_turns_run_wait_and_are_refused(
    serve: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = serve(CODEX_MAX_PARALLEL_REQUESTS="8", CODEX_MAX_QUEUED_REQUESTS="60")
    sim.script({"text": "word " * 20, "pace_ms": 10}, repeat=-1)
    statuses: Counter[int] = Counter()
    until = time.monotonic() + 6

    def insist() -> None:
        while time.monotonic() < until:
            answer = service.post(RESPONSES, ask(RESPONSES, "now"))
            statuses[answer.status] += 1
            if answer.status == 503:
                # A twentieth of what it is told, so it is an impatient client.
                time.sleep(int(answer.headers["retry-after"]) / 20)

    with health_checks(service) as took, ThreadPoolExecutor(120) as pool:
        for _ in range(120):
            pool.submit(insist)
    assert set(statuses) == {200, 503}
    assert statuses[503] > 100
    assert len(took) > 50
    # This process and its 120 threads need the processors as well, so a window of calm shows what the service does.
    size = len(took) // 6
    windows = [sorted(took[start : start + size]) for start in range(0, size * 6, size)]
    assert min(window[int(size * 0.9)] for window in windows) < 0.05
    assert statistics.median(took) < 0.05
