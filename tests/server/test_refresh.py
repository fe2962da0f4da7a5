"""The login is renewed once per host, whoever asks."""

import json
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from codexproxy.simulator.client import SimulatorClient
from tests.patience import patient
from tests.service import Service, wait_until

HELLO = {"model": "gpt-5.2", "input": "hi"}


def test_fifty_requests_over_four_processes_at_expiry_cause_one_refresh(
    serve: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = serve(WEB_CONCURRENCY="4", login=False)
    before = service.login(lifetime=2)
    time.sleep(max(0.0, before["expires_at"] / 1000 - time.time()) + 0.1)
    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(lambda _: service.post("/v1/responses", HELLO).status, range(50)))
    assert statuses == [200] * 50
    assert sim.counters()["refreshes"] == 1
    assert sim.counters()["reuse_detections"] == 0
    after = json.loads((service.data_dir / "tokens.json").read_text())
    assert after["refresh_token"] != before["refresh_token"]


def test_a_token_refused_by_upstream_is_renewed_and_the_turn_succeeds(
    serve: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = serve(login=False)
    tokens = service.login()
    wait_until(lambda: service.post("/v1/responses", HELLO).status == 200, "the login's use")
    sim.expire(tokens["access_token"])
    assert service.post("/v1/responses", HELLO).status == 200
    assert sim.counters()["refreshes"] == 1


def test_a_login_that_cannot_be_renewed_names_the_command(serve: Callable[..., Service], sim: SimulatorClient) -> None:
    service = serve(login=False)
    tokens = service.login()
    sim.revoke(tokens["access_token"])
    sim.revoke(tokens["refresh_token"])
    wait_until(lambda: service.post("/v1/responses", HELLO).code != "not_logged_in", "the login's use")
    answer = service.post("/v1/responses", HELLO)
    assert (answer.status, answer.code) == (401, "login_expired")
    assert "codexproxy login" in answer.json["error"]["message"]


def test_a_renewal_under_way_is_written_before_the_service_ends(
    serve: Callable[..., Service], sim: SimulatorClient
) -> None:
    sim.rules(refresh_slow={"ms": 2500})
    service = serve(login=False, WEB_CONCURRENCY="2")
    before = service.login(lifetime=1)
    # Nobody asks anything: the watch over the login renews it.
    wait_until(lambda: sim.counters()["refreshes"] == 1, "the renewal")
    assert json.loads((service.data_dir / "tokens.json").read_text()) == before
    assert service.process is not None
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(patient(20)) == 0
    kept = json.loads((service.data_dir / "tokens.json").read_text())["refresh_token"]
    assert {row["token"]: row["state"] for row in sim.tokens()["refresh"]}[kept] == "live"
