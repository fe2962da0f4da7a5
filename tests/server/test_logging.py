"""What a running service writes down."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from codexproxy.simulator.client import SimulatorClient
from tests.service import Service, wait_until

ASK = {"model": "gpt-5.2", "messages": [{"role": "user", "content": "tell me about sk-abcdefghijklmnop"}]}
LINE = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] \[(ERROR|WARN|INFO|DEBUG)\] \[[\w.:-]+\] .+")


def test_gunicorns_lines_have_our_form(serve: Callable[..., Service]) -> None:
    service = serve()
    assert all(LINE.fullmatch(line) for line in service.log.splitlines())
    assert "Listening at" in service.log


def test_off_a_terminal_every_line_is_an_object(serve: Callable[..., Service]) -> None:
    service = serve(LOG_FORMAT="")
    service.post("/v1/chat/completions", ASK, {"x-request-id": "req-1"})
    wait_until(lambda: "request end" in service.log, "the request's last line")
    lines = [json.loads(line) for line in service.log.splitlines()]
    end = next(line for line in lines if line["message"] == "request end")
    assert (end["request_id"], end["status"], end["level"]) == ("req-1", 200, "info")
    assert end["tokens_in"] > 0
    assert any("Listening at" in line["message"] for line in lines)


def test_files_of_several_workers_hold_whole_lines(serve: Callable[..., Service], tmp_path: Path) -> None:
    service = serve(WEB_CONCURRENCY="3", LOG_DIR=str(tmp_path / "logs"))
    for _ in range(12):
        service.post("/v1/chat/completions", ASK)
    found = wait_until(lambda: list((tmp_path / "logs").glob("*-info.log")), "a log file")
    wait_until(lambda: found[0].read_text().count("request end") == 12, "twelve ends")
    assert all(LINE.fullmatch(line) for line in found[0].read_text().splitlines())


def test_bodies_before_and_after_and_upstreams_errors_are_shown_on_request(
    serve: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = serve(LOG_LEVEL="debug", ENABLE_REQUEST_LOGGING="1")
    sim.script({"status": 418, "json": {"detail": "I am a teapot"}}, repeat=3)
    service.post("/v1/chat/completions", ASK)
    assert 'request body: {"model":"gpt-5.2","messages"' in service.log
    assert re.search(r'upstream body: \{.*"input"', service.log)
    assert "I am a teapot" in service.log
    assert "sk-abcdef" not in service.log


def test_bodies_stay_out_of_a_debug_log_otherwise(serve: Callable[..., Service]) -> None:
    service = serve(LOG_LEVEL="debug")
    service.post("/v1/chat/completions", ASK)
    assert "tell me about" not in service.log


def test_an_open_service_says_so_at_its_start(serve: Callable[..., Service]) -> None:
    assert "[WARN] [-] ALLOW_UNAUTHENTICATED is set" in serve(ALLOW_UNAUTHENTICATED="1").log
