"""Turns of a worker that is killed: charged what upstream was asked and what was heard, and written down, once."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codexproxy.access.keys import hash_key
from codexproxy.metering.estimate import tokens_in
from codexproxy.metering.input_tokens import count_input
from codexproxy.simulator.client import SimulatorClient
from codexproxy.storage.sqlite.ledger import Ledger, TurnRecord
from codexproxy.storage.turn_journal import RUNNING, Leftover, Slot
from tests.accounting.books import ALLOWED, KEY, Books, Tokens
from tests.accounting.test_endings import AUTH, CHAT, INPUT, MESSAGES, RESPONSES
from tests.service import Service, wait_until

WORDS = 30
TEXT = "word " * WORDS
# Says this much, then waits for the end of the worker.
STALLED: dict[str, Any] = {"text": TEXT, "stalls": [{"gate": "never", "event": 4 + WORDS}]}
TOLD = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}


@pytest.fixture
def limited(serve: Callable[..., Service], tmp_path: Path) -> Callable[..., Service]:
    """Starts services of one key, which may use so many tokens a day."""

    def start(tokens: int = ALLOWED, **environ: str) -> Service:
        config = tmp_path / "users.json"
        users = [{"name": KEY, "apiKeyHash": hash_key(KEY), "tokensPerDay": tokens}]
        config.write_text(json.dumps({"users": users}))
        return serve(CONFIG_PATH=str(config), PROXY_API_KEY="owner-key", **environ)

    return start


def journals(service: Service) -> dict[int, list[Slot]]:
    """Worker -> the turns in its journal."""
    found: dict[int, list[Slot]] = {}
    for path in (service.data_dir / "journal").glob("*.turns"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            found[int(path.name.partition("-")[0])] = Leftover(path, descriptor).slots
        finally:
            os.close(descriptor)
    return found


def running(service: Service) -> list[tuple[int, TurnRecord]]:
    """The workers and what they noted of their turns under way."""
    return [(pid, slot.row) for pid, slots in journals(service).items() for slot in slots if slot.state == RUNNING]


def kill(service: Service, pid: int) -> None:
    """Kills a worker and waits until what it left is settled."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in journals(service), "the settlement")


def rows(service: Service) -> list[TurnRecord]:
    ledger = Ledger(service.data_dir / "ledger.sqlite3")
    try:
        return ledger.newest(100)
    finally:
        ledger.close()


def begin(service: Service, path: str = CHAT, body: dict[str, Any] = MESSAGES) -> Any:
    """Sends a turn whose answer is streamed; returns its connection."""
    connection = service.connect()
    connection.request("POST", path, json.dumps({**body, "stream": True}), AUTH)
    return connection


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(("path", "body"), [(CHAT, MESSAGES), (RESPONSES, INPUT)])
def test_what_was_asked_and_heard_until_the_kill_is_charged_and_written_down(
    limited: Callable[..., Service], sim: SimulatorClient, workers: str, path: str, body: dict[str, Any]
) -> None:
    service = limited(WEB_CONCURRENCY=workers)
    sim.script(STALLED)
    books = Books(service)
    connection = begin(service, path, body)
    heard = 0.8 * tokens_in(TEXT)
    wait_until(lambda: any(row.output_tokens >= heard for _, row in running(service)), "the note of what was heard")
    ((worker, _),) = running(service)
    kill(service, worker)
    connection.close()
    found = books.entry()
    assert found.input == count_input(sim.last_turn()["json"])
    assert heard <= found.output <= 1.2 * tokens_in(TEXT) + 2
    (row,) = rows(service)
    assert (row.key, row.status, row.code, row.backend) == (KEY, 200, "worker_killed", "default")
    assert row.model == sim.last_turn()["json"]["model"]
    page = service.get("/metrics", {"authorization": "Bearer owner-key"}).body.decode()
    assert 'codexproxy_errors_total{code="worker_killed",type="internal_error"} 1.0' in page


def test_a_turn_that_was_just_sent_is_charged_about_what_it_asked(
    limited: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = limited()
    sim.script({"text": TEXT, "stalls": [{"gate": "never", "at": "head"}]})
    books = Books(service)
    connection = begin(service)
    wait_until(lambda: any(row.input_tokens for _, row in running(service)), "the note of what was asked")
    wait_until(lambda: sim.turns(), "the turn upstream")
    kill(service, service.worker())
    connection.close()
    asked = count_input(sim.last_turn()["json"])
    found = books.entry()
    assert asked <= found.input <= 2 * asked + 100
    assert found.output == 0
    assert [(row.status, row.code) for row in rows(service)] == [(500, "worker_killed")]


def test_a_turn_that_ended_just_before_the_kill_has_its_row_and_is_charged_once(
    limited: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = limited()
    books = Books(service)
    for _ in range(3):
        sim.script({"text": "good", "usage": TOLD})
        assert service.post(CHAT, MESSAGES, AUTH).status == 200
    assert service.post(CHAT, {"model": "gpt-5.2"}, AUTH).status == 400
    kill(service, service.worker())
    assert books.entry(4) == Tokens(21, 15)
    assert sorted((row.status, row.code) for row in rows(service)) == [
        *[(200, "")] * 3,
        (400, "missing_required_parameter"),
    ]


def test_a_row_that_is_written_is_not_written_again(limited: Callable[..., Service], sim: SimulatorClient) -> None:
    service = limited()
    sim.script({"text": "good", "usage": TOLD})
    service.post(CHAT, MESSAGES, AUTH)
    wait_until(lambda: rows(service) and not any(journals(service).values()), "the row")
    kill(service, service.worker())
    assert len(rows(service)) == 1


def test_the_next_start_settles_what_a_killed_service_left(
    limited: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = limited(WEB_CONCURRENCY="2")
    sim.script(STALLED, STALLED)
    left = Books(service)._remaining()
    connections = [begin(service), begin(service, RESPONSES, {**INPUT, "background": True})]
    wait_until(lambda: [row.output_tokens > 20 for _, row in running(service)] == [True] * 2, "the notes of both")
    assert service.process is not None
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    for pid in [service.process.pid, *map(int, children)]:
        os.kill(pid, signal.SIGKILL)
    service.process.wait()
    for connection in connections:
        connection.close()
    service.start()
    wait_until(lambda: len(rows(service)) == 2, "the rows")
    wait_until(lambda: not {*map(int, children)} & {*journals(service)}, "the settlement")
    assert {(row.status, row.code) for row in rows(service)} == {(200, "worker_killed")}
    spent = left - Books(service)._remaining()
    assert spent == sum(row.input_tokens + row.output_tokens for row in rows(service)) > 2 * 20


def test_the_tokens_of_a_day_cannot_be_had_by_killing_workers(
    limited: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = limited(400)
    sim.script(STALLED, repeat=-1)
    for _ in range(6):
        connection = begin(service)
        answer = connection.getresponse()
        if answer.status == 429:
            break
        wait_until(lambda: any(row.output_tokens > 20 for _, row in running(service)), "the note of what was heard")
        kill(service, service.worker())
        connection.close()
    assert answer.status == 429
    assert json.loads(answer.read())["error"]["code"] == "insufficient_quota"
    assert sum(row.code == "worker_killed" for row in rows(service)) in (1, 2, 3, 4)


def test_a_service_that_stops_leaves_no_journal(limited: Callable[..., Service]) -> None:
    service = limited(WEB_CONCURRENCY="2")
    assert service.post(CHAT, MESSAGES, AUTH).status == 200
    assert journals(service)
    service.stop()
    assert list((service.data_dir / "journal").iterdir()) == []
    assert len(rows(service)) == 1
