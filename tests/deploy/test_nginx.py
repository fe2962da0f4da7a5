"""The real nginx with our file in front of gunicorn: over a Unix socket, with TLS, without buffering."""

import http.client
import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.deploy.smoke import KEY, smoke
from tests.deploy.web_server import WebServer, find_nginx
from tests.patience import patient
from tests.service import Answer, Service, free_port, wait_until
from tests.terminal import run

CHAT = "/v1/chat/completions"
ASK = {"model": "gpt-5.2", "messages": [{"role": "user", "content": "hi"}]}

pytestmark = pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed")


class Deployment:
    """gunicorn on a Unix socket behind nginx."""

    def __init__(
        self, folder: Path, sim: SimulatorClient, changes: dict[str, str] | None = None, **environ: str
    ) -> None:
        socket = folder / "codexproxy.sock"
        self.service = Service(folder / "service", sim, PROXY_API_KEY=KEY, WEB_CONCURRENCY="2", **environ)
        self.service.login()
        own = f"127.0.0.1:{self.service.port}"  # so that the tests see when it is up
        self.service.start("--bind", f"unix:{socket}", "--bind", own, "--graceful-timeout", "3")
        (folder / "nginx").mkdir()
        self.nginx = WebServer(folder / "nginx", socket, changes).start()

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("localhost", self.nginx.port, timeout=patient(), context=self.nginx.trust())

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
        connection = self.connect()
        try:
            data = body if isinstance(body, bytes) else json.dumps(body)
            connection.request("POST", path, data, {"authorization": f"Bearer {KEY}", **(headers or {})})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def stop(self) -> None:
        self.nginx.stop()
        self.service.stop()


@pytest.fixture
def deployment(tmp_path: Path, sim: SimulatorClient) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path, sim)
    yield deployment
    deployment.stop()


def test_every_check_of_the_smoke_test_passes(deployment: Deployment) -> None:
    smoke(deployment.nginx.base_url, CURL_CA_BUNDLE=str(deployment.nginx.certificate))


def test_words_arrive_one_by_one_and_the_session_header_passes(deployment: Deployment, sim: SimulatorClient) -> None:
    sim.script({"text": "one two three four five six", "pace_ms": 150})
    connection = deployment.connect()
    headers = {"authorization": f"Bearer {KEY}", "session_id": "0199-session"}
    connection.request("POST", CHAT, json.dumps({**ASK, "stream": True}), headers)
    response = connection.getresponse()
    assert response.getheader("content-type") == "text/event-stream; charset=utf-8"
    times = []
    while line := response.readline():
        if b'"content":' in line:
            times.append(time.monotonic())
    connection.close()
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert sum(gap > 0.05 for gap in gaps) >= 3
    assert "0199-session" in json.dumps(sim.last_turn()["headers"])


def test_plain_http_is_refused_so_that_no_key_goes_on_travelling_in_the_clear(deployment: Deployment) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", deployment.nginx.plain_port, timeout=patient())
    connection.request("POST", CHAT, "{}", {"host": "proxy.example.com"})
    answer = Answer(connection.getresponse())
    connection.close()
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"]) == (403, "https_required")
    assert "https://" in error["message"]


def test_what_nginx_refuses_itself_is_an_error_object(deployment: Deployment) -> None:
    connection = deployment.connect()
    connection.putrequest("POST", CHAT)
    connection.putheader("content-length", str(70 * 2**20))
    connection.endheaders()
    answer = Answer(connection.getresponse())
    connection.close()
    assert (answer.status, answer.code) == (413, "body_too_large")
    deployment.service.stop()
    answer = deployment.post(CHAT, ASK)
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "overloaded", "2")


def test_who_forgets_the_s_of_https_is_told_so(deployment: Deployment) -> None:
    connection = http.client.HTTPConnection("localhost", deployment.nginx.port, timeout=patient())
    connection.request("POST", CHAT, "{}")
    answer = Answer(connection.getresponse())
    connection.close()
    assert (answer.status, answer.code) == (400, "invalid_http")
    assert "https://" in answer.json["error"]["message"]


HOLDING_BACK = {"proxy_buffering off;": "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"}


@pytest.mark.parametrize(("changes", "state"), [({}, "ok"), (HOLDING_BACK, "warn")], ids=["ours", "holding back"])
def test_the_doctor_tells_whether_streams_are_held_back(
    tmp_path: Path, sim: SimulatorClient, changes: dict[str, str], state: str
) -> None:
    deployment = Deployment(tmp_path, sim, changes)
    try:
        sim.script({"text": "one, two, three, four, five, six, seven, eight", "pace_ms": 200}, repeat=-1)
        environ = {
            "DATA_DIR": str(deployment.service.data_dir),
            "PORT": str(deployment.service.port),
            "PROXY_API_KEY": KEY,
            "CODEX_BACKEND_URL": sim.backend_url,
            "CODEX_CALLBACK_PORT": str(free_port()),
            "REQUESTS_CA_BUNDLE": str(deployment.nginx.certificate),
        }
        done = run(tmp_path, "doctor", "--deep", "--json", "--url", deployment.nginx.base_url, **environ)
    finally:
        deployment.stop()
    found = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert found["stream"]["state"] == "ok"
    assert found["public stream"]["state"] == state, found["public stream"]


def test_two_reloads_of_both_during_200_open_streams_lose_none(deployment: Deployment, sim: SimulatorClient) -> None:
    sim.script({"text": "word " * 100, "pace_ms": 150}, repeat=-1)
    process = deployment.service.process
    assert process is not None
    with ThreadPoolExecutor(200) as pool:
        answers = [pool.submit(deployment.post, CHAT, {**ASK, "stream": True}) for _ in range(200)]
        wait_until(lambda: sim.counters()["open_streams"] == 200, "200 open streams")
        for _ in range(2):
            booted = deployment.service.log.count("Booting worker")
            deployment.nginx.reload()
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: deployment.service.log.count("Booting worker") == booted + 2, "the reload")  # noqa: B023
        assert sim.counters()["open_streams"] == 200
        lost = [answer.result().body[-300:] for answer in answers if not _whole(answer.result().body)]
        assert lost == []


def _whole(body: bytes) -> bool:
    return body.endswith(b"data: [DONE]\n\n") and b'"finish_reason":"stop"' in body and b'"error"' not in body
