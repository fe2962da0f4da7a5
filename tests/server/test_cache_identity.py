"""The identity of a conversation in the prompt cache, over real HTTP with two workers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codexproxy.access.keys import hash_key
from codexproxy.simulator.client import SimulatorClient
from tests.service import Service, wait_until

CHAT = "/v1/chat/completions"
SESSION = "01999999-0000-7000-8000-000000000001"
SYSTEM = {"role": "system", "content": "You are an assistant."}
START = [SYSTEM, {"role": "user", "content": "A question about caches. " * 300}]
ANSWER = {"role": "assistant", "content": "An answer."}


def key_of(
    service: Service,
    sim: SimulatorClient,
    messages: list[dict[str, Any]],
    headers: dict[str, str] | None = None,
    **more: Any,
) -> str:
    """The identity under which upstream was asked; its headers have to say the same."""
    told = service.post(CHAT, {"model": "gpt-5.2", "messages": messages, **more}, headers)
    assert told.status == 200, told.body
    turn = sim.last_turn()
    key = str(turn["json"]["prompt_cache_key"])
    assert turn["headers"]["session_id"] == key
    return key


def test_a_conversation_keeps_its_identity_over_workers_appends_and_edits(
    service: Service, sim: SimulatorClient
) -> None:
    follow = {"role": "user", "content": "And now?"}
    histories = [START, [*START, ANSWER, follow], [*START, ANSWER, {**follow, "content": "And then?"}]]
    found = {key_of(service, sim, history) for history in histories for _ in range(4)}
    assert len(found) == 1
    assert found.pop()[14] == "7"


def test_other_conversations_have_other_identities(service: Service, sim: SimulatorClient) -> None:
    other = [SYSTEM, {"role": "user", "content": "Another question."}]
    assert key_of(service, sim, START) != key_of(service, sim, other)


def test_an_explicit_key_beats_the_clients_session_which_beats_the_start(
    service: Service, sim: SimulatorClient
) -> None:
    session = {"x-session-id": SESSION}
    start = key_of(service, sim, START)
    assert key_of(service, sim, START, session) == SESSION != start
    assert key_of(service, sim, START, session, prompt_cache_key="mine") == "mine"
    assert key_of(service, sim, START) == start


@pytest.fixture
def shared_service(serve: Callable[..., Service], tmp_path: Path) -> Service:
    users = [{"name": name, "apiKeyHash": hash_key(name)} for name in ("ann", "bob")]
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"users": users}))
    return serve(CONFIG_PATH=str(path))


@pytest.mark.parametrize("more", [{}, {"prompt_cache_key": "mine"}, {"prompt_cache_key": SESSION}])
def test_two_keys_never_share_an_identity(shared_service: Service, sim: SimulatorClient, more: dict[str, Any]) -> None:
    found = {
        name: {key_of(shared_service, sim, START, {"authorization": f"Bearer {name}"}, **more) for _ in range(2)}
        for name in ("ann", "bob")
    }
    assert all(len(keys) == 1 for keys in found.values())
    assert found["ann"] != found["bob"]


def test_the_cached_share_is_told_logged_and_measured(serve: Callable[..., Service], sim: SimulatorClient) -> None:
    service = serve()
    for _ in range(2):
        told = service.post(CHAT, {"model": "gpt-5.2", "messages": START}).json
    cached = told["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached > 1000
    wait_until(lambda: f"tokens_cached={cached}" in service.log, "the log line of the request")
    assert (
        f'codexproxy_tokens_total{{kind="cached",model="gpt-5.2"}} {float(cached)}'
        in service.get("/metrics").body.decode()
    )
