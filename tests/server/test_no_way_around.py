"""Every route wants the key, and every turn passes the gate: asked of the routes there are, not of a list."""

import json
from collections.abc import Callable
from contextvars import copy_context
from pathlib import Path

import pytest

from codexproxy.access.keys import hash_key
from codexproxy.simulator.client import SimulatorClient
from tests.server.routes import application, every_request, path_of
from tests.service import Service

KEY = "the-right-key"
OPEN = {("GET", "/health"), ("GET", "/ready")}
# POST routes that start no turn.
NO_TURNS = {
    "/auth/login",
    "/auth/device",
    "/auth/callback",
    "/auth/logout",
    "/responses/input_tokens",
    "/responses/<id>/cancel",
}
ASK = {"model": "gpt-5.2", "input": "hi", "messages": [{"role": "user", "content": "hi"}], "prompt": "hi"}


def ungated(folder: Path, *, extra: bool = False) -> set[str]:
    """POST routes that let in a key whose turns the gate refuses without exception.

    Args:
        folder: For data and configuration.
        extra: Whether the application gets a route of a careless colleague.
    """
    config = folder / "config.json"
    user = {"name": "nobody", "apiKeyHash": hash_key("k"), "allowedClients": ["no such client"]}
    config.write_text(json.dumps({"users": [user], "providers": [{"name": "none", "isEnabled": False}]}))
    app = application(folder, CONFIG_PATH=str(config))
    if extra:
        app.add_url_rule("/careless", "careless", lambda: ({"answer": 42}, 200), methods=["POST"])
    client = app.test_client()
    found = set()
    posts = {rule.rule for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ())}
    for route in posts - NO_TURNS:
        headers = {"authorization": "Bearer k", "host": "127.0.0.1"}
        # In a context of its own, since a request leaves its id behind there.
        answer = copy_context().run(client.post, path_of(route), json=ASK, headers=headers)
        error = (answer.get_json(silent=True) or {}).get("error") or {}
        if error.get("code") != "client_not_allowed":
            found.add(route)
    return found


def test_no_turn_goes_around_the_gate(tmp_path: Path) -> None:
    assert ungated(tmp_path) == set()


def test_a_turn_route_that_forgets_the_gate_is_found(tmp_path: Path) -> None:
    assert ungated(tmp_path, extra=True) == {"/careless"}


@pytest.fixture
def locked(serve: Callable[..., Service]) -> Service:
    return serve(PROXY_API_KEY=KEY, CODEX_CALLBACK_PORT="0")


def refusals(service: Service, headers: dict[str, str]) -> set[tuple[str, str, int, str | None]]:
    """What each request that is not open to all is refused with."""
    found = set()
    for method, path in every_request():
        answer = service.request(method, path, ASK if method == "POST" else None, headers)
        refused = answer.status in (401, 403) and answer.code in ("invalid_api_key", "origin_not_allowed")
        # Logging out is among the requests, so readiness may end on the way.
        assert answer.status in (200, 503) or (method, path) not in OPEN, (method, path)
        if (method, path) not in OPEN:
            found.add((method, path, answer.status if refused else 0, answer.code if refused else None))
    return found


def test_every_route_wants_the_key(locked: Service, sim: SimulatorClient) -> None:
    asked = {(method, path) for method, path in every_request() if (method, path) not in OPEN}
    assert len(asked) > 15
    for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": KEY[:-1]}, {"authorization": f"Basic {KEY}"}):
        assert refusals(locked, headers) == {(*request, 401, "invalid_api_key") for request in asked}
    assert sim.turns() == []
    assert refusals(locked, {"authorization": f"Bearer {KEY}"}) == {(*request, 0, None) for request in asked}


def test_without_a_key_every_route_is_local_only(serve: Callable[..., Service], sim: SimulatorClient) -> None:
    service = serve(CODEX_CALLBACK_PORT="0")
    asked = {(method, path) for method, path in every_request() if (method, path) not in OPEN}
    for headers in (
        {"host": "rebound.example"},
        {"origin": "https://page.example"},
        {"x-forwarded-for": "203.0.113.9"},
        {"host": "rebound.example", "authorization": "Bearer whatever"},
    ):
        assert refusals(service, headers) == {(*request, 403, "origin_not_allowed") for request in asked}
    assert sim.turns() == []
    for headers in ({}, {"authorization": "Bearer whatever"}):
        assert refusals(service, headers) == {(*request, 0, None) for request in asked}


NAMES = ["my own account", "naïve ☕ relay", "a,b;c=d"]


@pytest.mark.parametrize("name", NAMES)
def test_a_provider_may_have_any_name(serve: Callable[..., Service], tmp_path: Path, name: str) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"providers": [{"name": name, "groupTag": "a group"}], "users": [user(name)]}))
    service = serve(CONFIG_PATH=str(config))
    headers = {"authorization": "Bearer k"}
    answer = service.post("/v1/responses", {"model": "gpt-5.2", "input": "hi"}, headers)
    assert answer.status == 200
    shown = "".join(letter if letter.isascii() else "?" for letter in name)
    assert answer.headers["x-codexproxy-backend"] == shown
    assert service.get("/metrics", headers).status == 200
    assert [row["provider"] for row in service.get("/v1/quota", headers).json["providers"]] == [name]


def user(name: str) -> dict[str, str]:
    """An owner's key in the group of the provider, named like it."""
    return {"name": name, "apiKeyHash": hash_key("k"), "providerGroup": "a group", "role": "admin"}
