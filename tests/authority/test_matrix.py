"""Every route, asked by every kind of caller in every mode, answers or refuses as the table says."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from flask import Flask

from codexproxy.access.keys import hash_key
from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.process import SimulatorProcess
from tests.authority.table import MODES, OK, OUTCOMES, STATUS, SUBJECTS
from tests.server.routes import application, path_of
from tests.service import Answer, Service

OWNER_KEY = "the-key-of-the-owner"
USERS = [
    {"name": "user", "apiKeyHash": hash_key("user-key")},
    {"name": "other", "apiKeyHash": hash_key("other-key"), "role": "user"},
    {"name": "metrics", "apiKeyHash": hash_key("metrics-key"), "role": "metrics"},
    {"name": "admin", "apiKeyHash": hash_key("admin-key"), "role": "admin"},
    {"name": "disabled", "apiKeyHash": hash_key("disabled-key"), "role": "admin", "isEnabled": False},
]
CALLERS: dict[str, dict[str, str]] = {
    "none": {},
    "forwarded": {"x-forwarded-for": "203.0.113.9"},
    "page": {"origin": "https://evil.example"},
    "owner": {"authorization": f"Bearer {OWNER_KEY}"},
    **{name: {"authorization": f"Bearer {name}-key"} for name in ("wrong", "user", "other", "metrics", "admin")},
    "disabled": {"authorization": "Bearer disabled-key"},
}
SETTINGS: dict[str, dict[str, str]] = {
    "keyless": {},
    "keyed": {"PROXY_API_KEY": OWNER_KEY},
    "open": {"ALLOW_UNAUTHENTICATED": "1"},
    "both": {"PROXY_API_KEY": OWNER_KEY, "ALLOW_UNAUTHENTICATED": "1"},
}


@pytest.fixture(scope="module")
def services(simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Service]]:
    """One service per mode."""
    sim = SimulatorClient(simulator.base_url)
    with ExitStack() as stack:
        started = {}
        for mode in MODES:
            folder = tmp_path_factory.mktemp(mode)
            config = folder / "config.json"
            config.write_text(json.dumps({"users": USERS if "PROXY_API_KEY" in SETTINGS[mode] else []}))
            environ = {"CONFIG_PATH": str(config), "CODEX_CALLBACK_PORT": "0", **SETTINGS[mode]}
            started[mode] = stack.enter_context(Service(folder, sim, **environ))
        yield started


def ask(service: Service, method: str, rule: str, headers: dict[str, str]) -> Answer:
    """One request that starts nothing: its body is an empty object."""
    body = {"open_browser": False} if rule == "/auth/login" else {}
    return service.request(method, path_of(rule), body if method == "POST" else None, headers)


def outcome_of(answer: Answer) -> str:
    """``ok``, or the code of a refusal by the guard."""
    if answer.status not in STATUS.values() or not answer.body:
        return OK
    error = answer.json.get("error") or {}
    code = str(error.get("code"))
    if STATUS.get(code) != answer.status:
        return OK
    assert error["type"] == ("authentication_error" if answer.status == 401 else "permission_error")
    return code


@pytest.mark.parametrize(("mode", "caller"), OUTCOMES)
def test_every_route_answers_a_caller_or_refuses_as_the_table_says(
    services: dict[str, Service], sim: SimulatorClient, mode: str, caller: str
) -> None:
    expected = {route: OUTCOMES[mode, caller][about] for route, about in SUBJECTS.items()}
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda route: ask(services[mode], *route, CALLERS[caller]), expected)
        seen = {route: outcome_of(answer) for route, answer in zip(expected, answers, strict=True)}
    assert {route: (seen[route], wanted) for route, wanted in expected.items() if seen[route] != wanted} == {}
    assert sim.turns() == []


@pytest.mark.parametrize(("mode", "caller"), OUTCOMES)
def test_looking_only_and_a_path_that_is_nowhere_are_judged_like_the_rest(
    services: dict[str, Service], mode: str, caller: str
) -> None:
    outcomes = OUTCOMES[mode, caller]
    for rule, about in (("/models", "turns"), ("/metrics", "numbers"), ("/auth/status", "login")):
        status = ask(services[mode], "HEAD", rule, CALLERS[caller]).status
        assert status == STATUS.get(outcomes[about], 200), rule
        assert ask(services[mode], "OPTIONS", rule, CALLERS[caller]).status == 204
    for method, rule in (("GET", "/no/such/route"), ("PUT", "/auth/logout")):
        answer = ask(services[mode], method, rule, CALLERS[caller])
        assert outcome_of(answer) == outcomes["turns"], rule
        assert answer.status in (404, 405) or outcomes["turns"] != OK


def without_row(app: Flask) -> set[tuple[str, str]]:
    """Routes of an application that the table does not know."""
    routes = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    return routes - SUBJECTS.keys()


def test_every_route_has_a_row_and_every_row_a_route(tmp_path: Path) -> None:
    app = application(tmp_path)
    assert without_row(app) == set()
    rules = {rule.rule for rule in app.url_map.iter_rules()}
    assert {rule for _, rule in SUBJECTS} <= rules


def test_a_route_of_a_careless_colleague_is_found_and_is_the_owners_alone(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"users": USERS}))
    app = application(tmp_path, CONFIG_PATH=str(config))
    app.add_url_rule("/careless", "careless", lambda: ({"answer": 42}, 200), methods=["POST"])
    assert without_row(app) == {("POST", "/careless")}
    client = app.test_client()
    statuses = {name: client.post("/careless", headers=CALLERS[name]).status_code for name in ("user", "admin")}
    assert statuses == {"user": 403, "admin": 200}
