"""``GET /v1/quota`` over real HTTP: windows, forecast, use by key, and who may see what."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from codexproxy.access.keys import hash_key
from codexproxy.simulator.client import SimulatorClient
from tests.service import Service, wait_until

USAGE = "/backend-api/wham/usage"
HELLO = {"model": "gpt-5.2", "input": "hi"}
USERS = {
    "users": [
        {"name": "ann", "apiKeyHash": hash_key("ann-key")},
        {"name": "bob", "apiKeyHash": hash_key("bob-key"), "providerGroup": "other"},
    ]
}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def quota(service: Service, key: str = "") -> dict[str, Any]:
    answer = service.get("/v1/quota", bearer(key) if key else None)
    assert answer.status == 200
    told: dict[str, Any] = answer.json
    return told


def test_windows_are_asked_for_and_told_with_percent_time_and_forecast(
    serve: Callable[..., Service], sim: SimulatorClient
) -> None:
    sim.settings(quota={"secondary_used": 50})
    service = serve()
    (row,) = quota(service)["providers"]
    assert (row["provider"], row["type"], row["plan"], row["problem"]) == ("default", "codex", "plus", None)
    short, week = row["windows"]
    assert [(window["label"], window["used_percent"]) for window in row["windows"]] == [("5-hour", 12), ("weekly", 50)]
    assert abs(short["resets_at"] - time.time() - 7200) < 30
    assert time.strftime("%a %d %b, %H:%M", time.localtime(week["resets_at"])) == week["resets_at_local"]
    # 50 % in the 204,800 s that are over of 604,800: 147.7 % at this pace.
    assert week["forecast_percent_at_reset"] == pytest.approx(147.7, abs=0.5)
    assert time.time() < week["forecast_runs_out_at"] < week["resets_at"]


def test_what_answers_told_just_now_is_not_asked_for(serve: Callable[..., Service], sim: SimulatorClient) -> None:
    service = serve()
    assert service.post("/v1/responses", HELLO).status == 200
    assert quota(service)["providers"][0]["windows"][0]["used_percent"] == 12
    assert sim.requests(USAGE) == []


def test_an_upstream_that_does_not_tell_is_asked_once_and_the_reason_is_told(
    serve: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = serve()
    sim.script({"status": 500, "json": {"error": {"message": "no"}}}, endpoint="usage", repeat=-1)
    for _ in range(3):
        (row,) = quota(service)["providers"]
        assert row["windows"] == []
        assert row["problem"]
    assert len(sim.requests(USAGE)) == 1


def test_without_a_login_the_report_says_how_to_get_one(serve: Callable[..., Service]) -> None:
    (row,) = quota(serve(login=False))["providers"]
    assert "codexproxy login" in row["problem"]


def test_use_is_told_by_key_and_a_named_key_sees_its_own(
    serve: Callable[..., Service], sim: SimulatorClient, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(USERS))
    service = serve(CONFIG_PATH=str(config), PROXY_API_KEY="owner-key")
    for _ in range(2):
        assert service.post("/v1/responses", HELLO, bearer("ann-key")).status == 200
    assert service.post("/v1/responses", HELLO, bearer("owner-key")).status == 200

    def uses(key: str) -> dict[str, int]:
        return {use["name"]: use["turns"] for use in quota(service, key)["use"]}

    wait_until(lambda: uses("owner-key") == {"ann": 2, "default": 1}, "the use of both keys")
    assert uses("ann-key") == {"ann": 2}
    assert uses("bob-key") == {}
    assert quota(service, "bob-key")["providers"] == []
    assert len(quota(service, "ann-key")["providers"]) == 1
    assert service.get("/v1/quota").status == 401


def test_turns_beyond_the_reserve_of_a_key_are_refused_before_they_are_sent(
    serve: Callable[..., Service], sim: SimulatorClient, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    users = [{"name": "ann", "apiKeyHash": hash_key("ann-key"), "reserveWeeklyPercent": 20}]
    config.write_text(json.dumps({"users": users}))
    service = serve(CONFIG_PATH=str(config), PROXY_API_KEY="owner-key")
    sim.settings(quota={"secondary_used": 80})
    assert service.post("/v1/responses", HELLO, bearer("owner-key")).status == 200
    sent = len(sim.turns())
    answer = service.post("/v1/responses", HELLO, bearer("ann-key"))
    assert (answer.status, answer.code) == (429, "insufficient_quota")
    message = answer.json["error"]["message"]
    assert "weekly" in message and "80 %" in message and "leave 20 %" in message
    assert abs(answer.long_wait - 400_000) < 60
    assert len(sim.turns()) == sent
    assert service.post("/v1/responses", HELLO, bearer("owner-key")).status == 200


def test_a_named_key_learns_nothing_of_the_account_but_windows_and_its_own_use(
    serve: Callable[..., Service], sim: SimulatorClient, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"users": [{"name": "ann", "apiKeyHash": hash_key("ann-key")}]}))
    service = serve(CONFIG_PATH=str(config), PROXY_API_KEY="owner-key")
    account = json.loads((service.data_dir / "tokens.json").read_text())["account_id"]
    assert service.post("/v1/responses", HELLO, bearer("owner-key")).status == 200
    sim.settings(quota={"has_credits": True, "balance": "77.50"})
    told = [
        service.request(method, path, body, bearer("ann-key"))
        for method, path, body in (
            ("GET", "/v1/quota", None),
            ("GET", USAGE, None),
            ("GET", "/backend-api/wham/accounts/check", None),
            ("GET", "/ready", None),
            ("GET", "/auth/status", None),
            ("GET", "/metrics", None),
            ("POST", "/v1/responses", HELLO),
            ("POST", "/backend-api/codex/responses", {**HELLO, "stream": True}),
        )
    ]
    for answer in told:
        shown = str(answer.headers) + answer.body.decode()
        words = ("dev@example.com", account, '"name":"default"', "77.50")
        assert not [word for word in words if word in shown], shown
    assert told[1].json["rate_limit"]["primary_window"]["used_percent"] == 12


def test_many_who_ask_for_the_usage_report_cost_one_call_upstream(
    serve: Callable[..., Service], sim: SimulatorClient, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"users": [{**USERS["users"][0], "ratePerMinute": 2}]}))
    service = serve(CONFIG_PATH=str(config), PROXY_API_KEY="owner-key")
    with ThreadPoolExecutor(8) as pool:
        keys = ["ann-key", "owner-key"] * 20
        answers = list(pool.map(lambda key: service.get(USAGE, bearer(key)), keys))
    assert {answer.status for answer in answers} == {200}
    assert "credits" not in answers[0].json and "credits" in answers[1].json
    assert len(sim.requests(USAGE)) == 1
    assert quota(service, "owner-key")["providers"][0]["windows"][0]["used_percent"] == 12
    assert len(sim.requests(USAGE)) == 1


def test_a_failing_usage_report_is_not_asked_for_by_each_caller_anew(
    serve: Callable[..., Service], sim: SimulatorClient
) -> None:
    service = serve()
    sim.script({"status": 500, "json": {"error": {"message": "no"}}}, endpoint="usage", repeat=-1)
    answers = [service.get(USAGE) for _ in range(10)]
    assert {(answer.status, answer.code) for answer in answers} == {(502, "upstream_unavailable")}
    assert len(sim.requests(USAGE)) <= 2


def test_a_login_is_seen_by_the_usage_report_at_once(serve: Callable[..., Service], sim: SimulatorClient) -> None:
    service = serve(login=False)
    assert service.get(USAGE).code == "not_logged_in"
    service.login()
    wait_until(lambda: service.get(USAGE).status == 200, "the usage of the new login")
