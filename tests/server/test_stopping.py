"""A service that stops or reloads finishes what it began, or says why it does not."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from codexproxy.gunicorn.shutdown import HANDOVER, MARGIN, REPLACED, Stopping
from codexproxy.simulator.client import SimulatorClient
from tests.fakes.clock import Clock
from tests.patience import patient
from tests.service import Answer, Service, wait_until

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "gpt-5.2", "messages": [{"role": "user", "content": "hi"}]},
    RESPONSES: {"model": "gpt-5.2", "input": "hi"},
}
LONG = {"text": "word " * 3000, "pace_ms": 20}


@pytest.fixture
def deploy(sim: SimulatorClient, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts services with options of gunicorn's own."""
    started: list[Service] = []

    def start(*arguments: str, **environ: str) -> Service:
        service = Service(tmp_path / f"service-{len(started)}", sim, **environ)
        started.append(service)
        service.login()
        return service.start(*arguments)

    yield start
    for service in started:
        service.stop()


def whole(path: str, body: bytes) -> bool:
    if path == CHAT:
        return body.endswith(b"data: [DONE]\n\n") and b'"finish_reason":"stop"' in body and b'"error"' not in body
    return b"event: response.completed\n" in body and b"event: error\n" not in body


def told(path: str, answer: Answer) -> bool:
    body = answer.body
    if answer.status == 503:  # nothing had been sent yet
        return answer.code == "overloaded"
    if path == CHAT:
        return b'"code":"overloaded"' in body and body.endswith(b"data: [DONE]\n\n") and body.count(b"[DONE]") == 1
    return b'"code":"overloaded"' in body and body.count(b"event: response.failed\n") == 1


def begin(pool: ThreadPoolExecutor, service: Service, path: str, stream: bool = True, **fields: Any) -> Any:
    return pool.submit(service.post, path, {**BODIES[path], "stream": stream, **fields})


def terminate(service: Service, number: signal.Signals = signal.SIGTERM) -> float:
    """Sends a signal to the master and returns the seconds until it has ended."""
    assert service.process is not None
    began = time.monotonic()
    service.process.send_signal(number)
    service.process.wait(patient(30))
    return time.monotonic() - began


def open_streams(sim: SimulatorClient, number: int) -> None:
    wait_until(lambda: sim.counters()["open_streams"] == number, f"{number} open streams")


def test_sigterm_lets_short_streams_finish_and_ends_long_ones_with_an_error(
    deploy: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = deploy("--graceful-timeout", "6", WEB_CONCURRENCY="2")
    sim.script({"text": "word " * 40, "pace_ms": 30}, match="kurz", repeat=-1)
    sim.script(LONG, repeat=-1)
    with ThreadPoolExecutor(8) as pool:
        brief = {path: begin(pool, service, path, prompt_cache_key="kurz") for path in BODIES}
        long = {path: begin(pool, service, path) for path in BODIES}
        waiting = {path: begin(pool, service, path, stream=False) for path in BODIES}
        open_streams(sim, 6)
        seconds = terminate(service)
        assert all(whole(path, answer.result().body) for path, answer in brief.items())
        untold = [answer.result().body[-600:] for path, answer in long.items() if not told(path, answer.result())]
        assert untold == [], service.log
        assert [(answer.result().status, answer.result().code) for answer in waiting.values()] == [
            (503, "overloaded"),
            (503, "overloaded"),
        ]
        assert all(answer.result().headers["retry-after"] == "1" for answer in waiting.values())
    assert 2.5 < seconds < patient(10)
    assert sim.counters()["open_streams"] == 0


def test_sigint_ends_streams_at_once_but_properly(deploy: Callable[..., Service], sim: SimulatorClient) -> None:
    service = deploy()
    sim.script(LONG, repeat=-1)
    with ThreadPoolExecutor(2) as pool:
        answers = {path: begin(pool, service, path) for path in BODIES}
        open_streams(sim, 2)
        assert terminate(service, signal.SIGINT) < 10
        assert all(told(path, answer.result()) for path, answer in answers.items())


def test_a_client_that_does_not_read_holds_up_no_stop(deploy: Callable[..., Service], sim: SimulatorClient) -> None:
    service = deploy("--graceful-timeout", "4")
    sim.script({"text": "word " * 400_000, "chunking": 65536})
    sock = service.send(CHAT, {**BODIES[CHAT], "stream": True})
    open_streams(sim, 1)
    assert terminate(service) < 12
    sock.close()


def test_two_reloads_during_200_open_streams_lose_none(deploy: Callable[..., Service], sim: SimulatorClient) -> None:
    service = deploy("--graceful-timeout", "3", WEB_CONCURRENCY="2")
    sim.script({"text": "word " * 100, "pace_ms": 150}, repeat=-1)
    assert service.process is not None
    with ThreadPoolExecutor(200) as pool:
        answers = [(path, begin(pool, service, path)) for path in (CHAT, RESPONSES) for _ in range(100)]
        open_streams(sim, 200)
        for count in (1, 2):
            before = service.log.count("Booting worker")
            service.process.send_signal(signal.SIGHUP)
            wait_until(lambda: service.log.count("Booting worker") == before + 2, f"reload {count}")  # noqa: B023
        assert sim.counters()["open_streams"] == 200
        lost = [answer.result().body[-300:] for path, answer in answers if not whole(path, answer.result().body)]
        assert lost == []


@pytest.mark.parametrize("keep_alive", [True, False])
def test_no_request_is_lost_while_workers_are_replaced(
    deploy: Callable[..., Service], sim: SimulatorClient, keep_alive: bool
) -> None:
    service = deploy(WEB_CONCURRENCY="2")
    sim.script({"text": "ok"}, repeat=-1)
    assert service.process is not None
    stop = threading.Event()

    def hammer() -> list[int]:
        statuses = []
        connection = service.connect()
        while not stop.is_set():
            connection.request("POST", RESPONSES, json.dumps(BODIES[RESPONSES]))
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
            if not keep_alive:
                connection.close()
        connection.close()
        return statuses

    with ThreadPoolExecutor(4) as pool:
        hammering = [pool.submit(hammer) for _ in range(4)]
        for _ in range(2):
            before = service.log.count("Worker exiting")
            service.process.send_signal(signal.SIGHUP)
            wait_until(lambda: service.log.count("Worker exiting") == before + 2, "the old workers' end")  # noqa: B023
        stop.set()
        statuses = [status for done in hammering for status in done.result()]
    assert len(statuses) > 20
    assert set(statuses) == {200}


def test_a_worker_that_served_enough_is_replaced_and_its_long_stream_goes_on(
    deploy: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = deploy("--max-requests", "5", "--graceful-timeout", "3")
    sim.script({"text": "word " * 80, "pace_ms": 100})
    with ThreadPoolExecutor(1) as pool:
        long = begin(pool, service, CHAT)
        open_streams(sim, 1)
        for _ in range(12):
            assert service.post(RESPONSES, BODIES[RESPONSES]).status == 200
        wait_until(lambda: service.log.count("Booting worker") >= 2, "a fresh worker")
        assert whole(CHAT, long.result().body)


def test_a_stop_after_a_reload_ends_the_streams_of_before_properly(
    deploy: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = deploy("--graceful-timeout", "4")
    sim.script(LONG, repeat=-1)
    assert service.process is not None
    with ThreadPoolExecutor(2) as pool:
        answers = {path: begin(pool, service, path) for path in BODIES}
        open_streams(sim, 2)
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: service.log.count("Booting worker") == 2, "the reload")
        terminate(service)
        assert all(told(path, answer.result()) for path, answer in answers.items())


def test_a_reload_with_a_broken_config_file_changes_nothing(deploy: Callable[..., Service], tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"models": {"default": "gpt-5.2"}}')
    service = deploy(CONFIG_PATH=str(config))
    assert service.process is not None
    for broken, word in (
        ('{"models": {"defualt": "x"}}', "models.default"),
        ('{"server": {"host": "0.0.0.0"}}', "PROXY_API_KEY"),
    ):
        config.write_text(broken)
        exits = service.log.count("Worker exiting")
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: service.log.count("Worker exiting") == exits + 1, "the old worker's end")  # noqa: B023
        assert word in service.log
        assert service.post(RESPONSES, {"input": "hi"}).status == 200
    config.write_text('{"server": {"maxBodyBytes": 5}}')
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: service.post(RESPONSES, {"input": "hi"}).status == 413, "the new limit")


def test_a_stop_leaves_a_margin_before_the_masters_deadline() -> None:
    clock = Clock(100.0)
    stopping = Stopping(30.0, clock)
    stopping.told()
    clock.sleep(30.0 - MARGIN - 0.1)
    assert not stopping.streams_must_end()
    clock.sleep(0.2)
    assert stopping.streams_must_end()


def test_a_replaced_worker_waits_until_the_service_stops_after_all() -> None:
    clock = Clock(100.0)
    stopping = Stopping(30.0, clock)
    stopping.announced()
    for _ in range(600):
        stopping.told()
        clock.sleep(1.0)
    assert not stopping.streams_must_end()
    assert not stopping.may_accept()
    stopping.told()
    stopping.announced()
    assert not stopping.streams_must_end()
    clock.sleep(30.0 - MARGIN)
    assert stopping.streams_must_end()


def test_only_a_replaced_worker_goes_on_accepting_until_its_successor_is_there() -> None:
    clock = Clock(100.0)
    replaced, stopped = Stopping(30.0, clock), Stopping(30.0, clock)
    replaced.announced()
    for worker in (replaced, stopped):
        worker.told()
    assert (replaced.may_accept(), stopped.may_accept()) == (True, False)
    clock.sleep(HANDOVER)
    assert not replaced.may_accept()


def test_a_replaced_worker_does_not_wait_for_ever() -> None:
    clock = Clock(100.0)
    stopping = Stopping(30.0, clock)
    stopping.announced()
    stopping.told()
    clock.sleep(REPLACED - 1)
    stopping.told()
    assert not stopping.streams_must_end()
    clock.sleep(1)
    assert stopping.streams_must_end()
