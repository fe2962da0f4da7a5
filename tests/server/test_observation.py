"""Metrics and the request ledger of a running service."""

import os
import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.storage.sqlite.ledger import Ledger, TurnRecord
from tests.fakes.backends import answer
from tests.service import Service, wait_until

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
ASK = {"model": "gpt-5.2-high", "messages": [{"role": "user", "content": "a secret question"}]}
HELLO = {"model": "gpt-5.2", "input": "hi"}


def value(page: str, name: str, **labels: str) -> float:
    """The sum of all series of a metric that carry these labels."""
    total = 0.0
    for line in page.splitlines():
        found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
        if found and all(f'{key}="{text}"' in (found[1] or "") for key, text in labels.items()):
            total += float(found[2])
    return total


def metrics(service: Service) -> str:
    answer = service.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.body.decode()


def rows(service: Service, count: int) -> list[TurnRecord]:
    ledger = Ledger(service.data_dir / "ledger.sqlite3")
    try:
        wait_until(lambda: len(ledger.newest(100)) >= count, f"{count} rows")
        return ledger.newest(100)
    finally:
        ledger.close()


def test_all_workers_are_counted_whichever_is_asked(serve: Callable[..., Service]) -> None:
    service = serve(WEB_CONCURRENCY="3")
    for _ in range(12):
        service.post(CHAT, ASK)
        service.post(RESPONSES, {**HELLO, "stream": True})
    service.post(RESPONSES, {"model": "gpt-5.2", "input": 7})
    for _ in range(6):
        page = metrics(service)
        assert value(page, "codexproxy_turns_total", dialect="chat", model="gpt-5.2", status="200") == 12
        assert value(page, "codexproxy_turns_total", dialect="responses", status="200", backend="default") == 12
        assert value(page, "codexproxy_turns_total", dialect="responses", status="400") == 1
        assert value(page, "codexproxy_first_event_seconds_count", backend="default") == 24
        assert value(page, "codexproxy_turn_seconds_count") == 25
        assert value(page, "codexproxy_tokens_total", kind="output") > 0
        assert value(page, "codexproxy_errors_total", type="invalid_request_error") == 1
        assert value(page, "codexproxy_open_streams") == 0


def test_open_streams_are_told_and_forgotten_with_a_killed_worker(
    serve: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = serve(WEB_CONCURRENCY="2")
    sim.script({"text": "word " * 500, "pace_ms": 50}, repeat=-1)
    socks = [service.send(CHAT, {**ASK, "stream": True}) for _ in range(4)]
    wait_until(lambda: value(metrics(service), "codexproxy_open_streams") == 4, "four open streams")
    pids = [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", service.log)]
    os.kill(pids[0], signal.SIGKILL)
    wait_until(lambda: service.log.count("Booting worker") == 3, "a new worker")
    for sock in socks:
        sock.close()
    wait_until(lambda: value(metrics(service), "codexproxy_open_streams") == 0, "no open stream")


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_an_event_of_no_known_name_that_is_no_json_is_skipped_and_counted(
    service: Service, sim: SimulatorClient, path: str
) -> None:
    before = value(metrics(service), "codexproxy_skipped_events_total", backend="default")
    frames = [
        b"event: gateway.ping\ndata: ping\n\n",
        b"data: nonsense\n\n",
        *(event.raw for batch in answer("one two") for event in batch),
    ]
    sim.script({"raw_text": b"".join(frames).decode(), "raw_frames": False}, repeat=2)
    ask = HELLO if path == RESPONSES else ASK
    whole = service.post(path, ask)
    assert whole.status == 200
    assert b"one two" in whole.body
    streamed = service.post(path, {**ask, "stream": True})
    assert b"one two" in streamed.body
    assert b"error" not in streamed.body.replace(b'"error":null', b"")
    assert b"nonsense" not in streamed.body
    after = value(metrics(service), "codexproxy_skipped_events_total", backend="default")
    assert after - before == 4
    assert 1 <= service.log.count("sent an event 'gateway.ping' that is not JSON") <= 2  # once by each worker


def test_names_that_callers_make_up_get_no_series(serve: Callable[..., Service], sim: SimulatorClient) -> None:
    service = serve()
    for number in range(5):
        sim.script({"status": 400, "json": {"detail": "no"}}, repeat=3)
        service.post(CHAT, {**ASK, "model": f"made-up-{number}"})
        sim.reset()
        service.login()
    page = metrics(service)
    assert "made-up" not in page
    assert value(page, "codexproxy_turns_total", model="other") == 5


def test_renewals_of_the_login_are_counted(serve: Callable[..., Service], sim: SimulatorClient) -> None:
    service = serve(login=False)
    tokens = service.login()
    wait_until(lambda: service.post(RESPONSES, HELLO).status == 200, "the login's use")
    sim.expire(tokens["access_token"])
    service.post(RESPONSES, HELLO)
    wait_until(
        lambda: value(metrics(service), "codexproxy_token_refreshes_total", outcome="succeeded") == 1, "one renewal"
    )


def test_metrics_need_the_key(serve: Callable[..., Service]) -> None:
    service = serve(PROXY_API_KEY="s3cret-key")
    assert service.get("/metrics").status == 401
    assert service.get("/metrics", {"authorization": "Bearer s3cret-key"}).status == 200


def test_the_quota_and_the_queue_are_shown(serve: Callable[..., Service], sim: SimulatorClient) -> None:
    service = serve(CODEX_MAX_PARALLEL_REQUESTS="1")
    sim.script({"text": "word " * 20, "pace_ms": 20}, repeat=-1)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: service.post(CHAT, ASK), range(2)))
    page = metrics(service)
    assert value(page, "codexproxy_queue_seconds_count", outcome="taken") == 2
    assert value(page, "codexproxy_queue_seconds_sum") > 0.1
    assert "codexproxy_queue_waiting 0.0" in page
    assert 'codexproxy_quota_used_percent{provider="default",window="primary"}' in page


def test_the_folder_of_the_metrics_goes_with_the_service(serve: Callable[..., Service], tmp_path: Path) -> None:
    (tmp_path / "codexproxy-metrics-999999999-left").mkdir()
    service = serve(TMPDIR=str(tmp_path))
    found = list(tmp_path.glob("codexproxy-metrics-*"))
    assert len(found) == 1
    assert any(found[0].iterdir()) or metrics(service)
    service.stop()
    assert not found[0].exists()


@pytest.mark.parametrize("stream", [True, False])
def test_every_turn_leaves_one_row_without_a_text(serve: Callable[..., Service], stream: bool) -> None:
    service = serve(WEB_CONCURRENCY="2")
    service.post(CHAT, {**ASK, "stream": stream}, {"user-agent": "OpenAI/Python 2.1"})
    (row,) = rows(service, 1)
    assert (row.dialect, row.model, row.effort, row.backend) == ("chat", "gpt-5.2", "high", "default")
    assert (row.status, row.code) == (200, "")
    assert row.input_tokens > 0
    assert row.output_tokens > 0
    assert row.first_ms is not None
    assert 0 <= row.first_ms <= row.total_ms
    assert "secret question" not in (service.data_dir / "ledger.sqlite3").read_bytes().decode("latin-1")


def test_a_stop_writes_the_rows_that_wait(serve: Callable[..., Service], sim: SimulatorClient) -> None:
    service = serve()
    sim.script({"text": "one two", "cut": {"event": 5, "how": "reset"}}, repeat=-1)
    service.post(CHAT, {**ASK, "stream": True})
    service.post(CHAT, {"model": "gpt-5.2"})
    service.stop()
    bad, cut = rows(service, 2)
    assert (bad.status, bad.code, bad.first_ms) == (400, "missing_required_parameter", None)
    assert (cut.status, cut.code) == (200, "upstream_truncated")


def test_a_ledger_that_cannot_be_written_costs_no_answer(serve: Callable[..., Service]) -> None:
    service = serve(login=True)
    (service.data_dir / "ledger.sqlite3").mkdir()
    assert service.post(CHAT, ASK).status == 200
    wait_until(lambda: "rows of the request ledger could not be written" in service.log, "the warning")
    assert service.post(CHAT, ASK).status == 200


def test_dry_runs_are_no_turns(serve: Callable[..., Service]) -> None:
    service = serve()
    assert service.post(CHAT, ASK, {"x-codexproxy-dry-run": "1"}).status == 200
    assert "codexproxy_turns_total{" not in metrics(service)
