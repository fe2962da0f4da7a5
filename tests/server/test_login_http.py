"""Logging in and out over HTTP, against the real service with several workers."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from tests.service import Service, free_port, wait_until
from tests.visitor import authorized, query_of, visit

HELLO = {"model": "gpt-5.2", "input": "hi"}


@pytest.fixture(scope="module")
def standing(simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service with three workers for all tests of this module; use ``out``."""
    port = str(free_port())
    folder = tmp_path_factory.mktemp("login")
    service = Service(folder, SimulatorClient(simulator.base_url), WEB_CONCURRENCY="3", CODEX_CALLBACK_PORT=port)
    yield service.start()
    service.stop()


@pytest.fixture
def out(standing: Service, sim: SimulatorClient) -> Service:
    """The standing service, with nobody logged in."""
    sim.rules(auto_approve=True)
    (standing.data_dir / "tokens.json").unlink(missing_ok=True)
    wait_until(lambda: standing.get("/auth/status").json["logged_in"] is False, "the end of the login")
    return standing


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_login_by_browser_from_begin_to_answer(out: Service, sim: SimulatorClient) -> None:
    wait_until(lambda: out.post("/v1/responses", HELLO).status == 401, "the end of the login")
    begun = out.post("/auth/login", {})
    assert begun.status == 200
    assert begun.headers["cache-control"] == "no-store"
    assert set(begun.json) == {"authorization_url", "state", "expires_in", "instructions", "browser_opened"}
    assert begun.json["browser_opened"] is False
    assert 290 <= begun.json["expires_in"] <= 300
    query = query_of(begun.json["authorization_url"])
    assert query["state"] == begun.json["state"]
    assert query["code_challenge_method"] == "S256"
    page = visit(begun.json["authorization_url"])
    assert page.status == 200
    assert page.url.endswith("/success")
    assert "dev@example.com" in page.text
    assert "close this window" in page.text
    assert out.post("/v1/responses", HELLO).status == 200
    assert sim.counters()["exchanges"] == 1
    port = urlsplit(query["redirect_uri"]).port
    assert port is not None
    wait_until(lambda: port_is_free(port), "the end of the callback app")


def test_each_worker_can_begin_and_any_can_finish(out: Service, sim: SimulatorClient) -> None:
    # Three workers take the port from one another; the last begun and the first begun both end well.
    addresses = [out.post("/auth/login", {}).json["authorization_url"] for _ in range(8)]
    assert visit(addresses[-1]).status == 200
    for address in (addresses[0], addresses[3]):
        answer = out.post("/auth/callback", {"url": authorized(address)})
        assert (answer.status, answer.json["email"]) == (200, "dev@example.com")
    assert sim.counters()["exchanges"] == 3


@pytest.mark.parametrize("way", ["url", "callback_url", "code", "code and state", "text", "curl -d", "form"])
def test_what_was_pasted_is_taken_in_every_form(out: Service, way: str) -> None:
    begun = out.post("/auth/login", {"open_browser": False}).json
    address = authorized(begun["authorization_url"])
    code = query_of(address)["code"]
    forms: dict[str, tuple[object, str]] = {
        "url": ({"url": address}, "application/json"),
        "callback_url": ({"callback_url": address}, "application/json"),
        "code": ({"code": code}, "application/json"),
        "code and state": ({"code": code, "state": begun["state"]}, "application/json"),
        "text": (address.encode(), "text/plain"),
        "curl -d": (address.encode(), "application/x-www-form-urlencoded"),
        "form": (
            b"url=" + address.replace("?", "%3F").replace("&", "%26").replace("=", "%3D").encode(),
            "application/x-www-form-urlencoded",
        ),
    }
    body, kind = forms[way]
    answer = out.post("/auth/callback", body, {"content-type": kind})
    assert answer.status == 200, answer.body
    assert answer.json["logged_in"] is True
    assert out.get("/auth/status").json["email"] == "dev@example.com"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "url"),
        ({"url": 5}, "invalid_type", "url"),
        ({"url": "http://localhost:1455/auth/callback"}, "invalid_value", None),
        ({"code": "ac_x", "state": "wrong"}, "state_mismatch", None),
        (b"", "invalid_value", None),
        (b'{"url', "invalid_json", None),
        (b"x" * 70_000, "body_too_large", None),
    ],
)
def test_a_paste_that_helps_nobody_is_refused_and_the_login_goes_on(
    out: Service, body: object, code: str, param: str | None
) -> None:
    begun = out.post("/auth/login", {}).json
    answer = out.post("/auth/callback", body)
    assert answer.status in (400, 413)
    assert (answer.code, answer.json["error"]["param"]) == (code, param)
    assert visit(begun["authorization_url"]).status == 200


def test_a_code_is_good_once(out: Service) -> None:
    address = authorized(out.post("/auth/login", {}).json["authorization_url"])
    assert out.post("/auth/callback", {"url": address}).status == 200
    assert out.post("/auth/callback", {"url": address}).code == "state_mismatch"


def test_a_login_by_device_code(out: Service, sim: SimulatorClient) -> None:
    sim.settings(device_interval="0.1")
    begun = out.post("/auth/device", {}).json
    assert begun["verification_url"] == f"{sim.issuer_url}/codex/device"
    assert begun["user_code"] in begun["instructions"]
    assert 890 <= begun["expires_in"] <= 900
    assert out.get("/auth/status").json["logged_in"] is False
    assert sim.approve_device(begun["user_code"])
    wait_until(lambda: out.get("/auth/status").json["logged_in"], "the login")
    assert out.post("/v1/responses", HELLO).status == 200


def test_without_device_codes_the_error_names_the_other_way(out: Service, sim: SimulatorClient) -> None:
    sim.rules(device_disabled=True)
    answer = out.post("/auth/device", {})
    assert (answer.status, answer.code) == (400, "device_login_unavailable")
    assert "browser login" in answer.json["error"]["message"]


def test_the_status_tells_everything_but_tokens(out: Service) -> None:
    service, tokens = out, out.login(plan="pro")
    wait_until(lambda: service.get("/auth/status").json["logged_in"], "the login")
    service.post("/v1/responses", HELLO)
    shown = service.get("/auth/status").json
    assert (shown["email"], shown["plan"], shown["account_id"]) == ("dev@example.com", "pro", tokens["account_id"])
    assert shown["state"] == "ok"
    assert shown["access_token_ends_at"].endswith("Z")
    assert shown["refreshed_at"].endswith("Z")
    assert {window["label"] for window in shown["quota"]} >= {"weekly"}
    assert not any(tokens[name] in json.dumps(shown) for name in ("access_token", "refresh_token", "id_token"))


def test_logging_out_revokes_and_deletes_even_when_the_issuer_is_down(out: Service, sim: SimulatorClient) -> None:
    service = out
    service.login()
    assert service.post("/auth/logout", {}).json == {"logged_out": True, "was_logged_in": True, "revoked": True}
    assert sim.counters()["revocations"] == 1
    assert not (service.data_dir / "tokens.json").exists()
    wait_until(lambda: service.post("/v1/responses", HELLO).status == 401, "the end of the login")
    service.login()
    sim.script({"status": 500, "body": "down"}, endpoint="revoke")
    again = service.post("/auth/logout", {}).json
    assert again == {"logged_out": True, "was_logged_in": True, "revoked": False}
    assert service.post("/auth/logout", {}).json["was_logged_in"] is False


AUTH = [
    ("POST", "/auth/login"),
    ("POST", "/auth/device"),
    ("POST", "/auth/callback"),
    ("GET", "/auth/status"),
    ("POST", "/auth/logout"),
    ("GET", "/v1/auth/status"),
]


def test_with_a_key_every_auth_route_wants_it(serve: Callable[..., Service]) -> None:
    service = serve(PROXY_API_KEY="s3cret-key")
    for method, path in AUTH:
        assert service.request(method, path, {}).status == 401, path
    assert service.get("/auth/status", {"x-api-key": "s3cret-key"}).json["logged_in"] is True


def test_allowing_everybody_to_ask_lets_nobody_else_log_out(serve: Callable[..., Service]) -> None:
    service = serve(ALLOW_UNAUTHENTICATED="1", CORS_ALLOW_ORIGINS="*")
    foreign = [
        {"host": "proxy.example.com"},
        {"x-forwarded-for": "203.0.113.9"},
        {"origin": "https://page.example"},
        {"origin": "http://localhost:1"},
    ]
    for headers in foreign:
        assert service.post("/v1/responses", HELLO, headers).status == 200
        for method, path in AUTH:
            answer = service.request(method, path, {}, headers)
            assert (answer.status, answer.code) == (403, "owner_only"), (path, headers)
    assert service.get("/auth/status").json["logged_in"] is True


def test_the_browser_of_this_machine_is_opened_when_there_is_one(
    serve: Callable[..., Service], sim: SimulatorClient, tmp_path: Path
) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > "{opened}.new"\nmv "{opened}.new" "{opened}"\n')
    browser.chmod(0o755)
    service = serve(
        login=False, CODEX_CALLBACK_PORT="0", DISPLAY=":0", BROWSER=f"{browser} %s &", SSH_TTY="", container=""
    )
    here = not any(Path(sign).exists() for sign in ("/.dockerenv", "/run/.containerenv"))
    begun = service.post("/auth/login", {}).json
    assert begun["browser_opened"] is here
    if here:
        assert wait_until(lambda: opened.exists() and opened.read_text(), "the browser") == begun["authorization_url"]
    assert service.post("/auth/login", {"open_browser": False}).json["browser_opened"] is False
    assert service.post("/auth/login", {"open_browser": "no"}).code == "invalid_type"


def test_a_busy_port_leaves_the_login_by_paste(serve: Callable[..., Service], sim: SimulatorClient) -> None:
    sim.rules(auto_approve=True)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        service = serve(login=False, CODEX_CALLBACK_PORT=str(holder.getsockname()[1]))
        begun = service.post("/auth/login", {}).json
    assert "Address already in use" in begun["instructions"]
    assert query_of(begun["authorization_url"])["redirect_uri"] == "http://localhost:1455/auth/callback"
    answer = service.post("/auth/callback", {"url": authorized(begun["authorization_url"])})
    assert answer.json["logged_in"] is True


def test_ready_says_why_not_and_what_to_do(serve: Callable[..., Service], sim: SimulatorClient) -> None:
    service = serve(login=False)
    answer = service.get("/ready")
    assert answer.status == 503
    assert "codexproxy login" in answer.json["reasons"][0]
    tokens = service.login(lifetime=-5)
    wait_until(lambda: service.get("/ready").status == 200, "readiness")
    assert sim.counters()["refreshes"] in (0, 1)  # looking renews nothing; the watch over the login may
    sim.revoke(tokens["refresh_token"])
    dead = dict(tokens, refresh_error="refresh_token_invalidated", refresh_error_at=2**41)
    (service.data_dir / "tokens.json").write_text(json.dumps(dead))
    answer = wait_until(lambda: (got := service.get("/ready")).status == 503 and got, "the end of readiness")
    assert "codexproxy login" in answer.json["reasons"][0]


def test_an_empty_folder_is_seeded_and_a_newer_pair_is_told(
    serve: Callable[..., Service], sim: SimulatorClient
) -> None:
    tokens = sim.login(lifetime=-1)
    service = serve(login=False, CODEX_TOKENS_JSON=json.dumps(tokens))
    assert service.post("/v1/responses", HELLO).status == 200
    assert "Took the login from CODEX_TOKENS_JSON" in service.log
    assert sim.counters()["refreshes"] == 1
    for answer in (service.get("/ready"), service.get("/auth/status")):
        assert answer.status == 200
        assert "codexproxy login --export" in answer.body.decode()
    wait_until(lambda: "The stored login differs" in service.log, "the warning at the renewal")
    service.stop()
    service.log_path.unlink()
    service.start()
    wait_until(lambda: "The stored login differs" in service.log, "the warning at the start")


def test_a_seed_that_holds_no_login_is_told_and_serving_begins(serve: Callable[..., Service]) -> None:
    service = serve(login=False, CODEX_TOKENS_JSON='{"secret": "swordfish"}')
    assert service.post("/v1/responses", HELLO).code == "not_logged_in"
    assert "neither an access_token nor a refresh_token" in service.log
    assert "swordfish" not in service.log


def test_the_login_is_renewed_before_anybody_asks(serve: Callable[..., Service], sim: SimulatorClient) -> None:
    sim.settings(access_lifetime=3600)
    service = serve(login=False, WEB_CONCURRENCY="3")
    before = service.login(lifetime=2)
    wait_until(lambda: sim.counters()["refreshes"], "the renewal")
    after = wait_until(
        lambda: (now := json.loads((service.data_dir / "tokens.json").read_text())) != before and now, "the new pair"
    )
    assert after["account_id"] == before["account_id"]
    assert sim.counters()["refreshes"] == 1
    assert os.stat(service.data_dir / "tokens.json").st_mode & 0o777 == 0o600
