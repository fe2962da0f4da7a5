"""A keyed Responses API as a provider."""

import json
from typing import Any

import pytest
import requests
import responses

from codexproxy.errors import (
    LoginExpired,
    NotLoggedIn,
    Overloaded,
    ProxyError,
    RateLimited,
    UpstreamFailed,
    UpstreamTimeout,
)
from codexproxy.protocol.request import Turn
from codexproxy.upstream.chatgpt.transport import Transport
from codexproxy.upstream.openai_compatible import RelayAddress, RelayBackend

BASE = "https://relay.example/v1"
TURN = Turn("gpt-5.2", {"model": "gpt-5.2", "input": []}, cache_key="key-1")
STREAM = b'event: response.completed\ndata: {"type":"response.completed","response":{"id":"r"}}\n\n'


@pytest.fixture
def relay() -> RelayBackend:
    address = RelayAddress(BASE + "/", "sk-planted", "RELAY_KEY")
    return RelayBackend("my relay", address, Transport(BASE, {}), wait=lambda sock, seconds: True)


@responses.activate
def test_a_turn_goes_to_the_responses_route_with_the_key(relay: RelayBackend) -> None:
    responses.post(f"{BASE}/responses", body=STREAM, headers={"X-Request-Id": "r1"})
    stream = relay.open(TURN)
    assert [event.type for batch in stream for event in batch] == ["response.completed"]
    assert (stream.answerer.backend, stream.answerer.headers["x-request-id"]) == ("my relay", "r1")
    sent = responses.calls[0].request
    assert json.loads(sent.body) == TURN.body
    assert sent.headers["Authorization"] == "Bearer sk-planted"
    assert [sent.headers[name] for name in ("session_id", "conversation_id", "session-id")] == ["key-1"] * 3


def test_the_key_is_never_shown(relay: RelayBackend) -> None:
    assert "sk-planted" not in repr(RelayAddress(BASE, "sk-planted"))


@responses.activate
@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (401, {"error": {"message": "bad key sk-planted"}}, LoginExpired, "login_expired"),
        (429, {"error": {"message": "slow", "code": "rate_limit_exceeded"}}, RateLimited, "rate_limit_exceeded"),
        (503, {"error": {"message": "full"}}, Overloaded, "overloaded"),
        (403, "<html>", UpstreamFailed, "upstream_challenge"),
        (502, {"error": {"message": "x"}}, UpstreamFailed, "upstream_unavailable"),
    ],
)
def test_refusals_become_errors_of_ours(
    relay: RelayBackend, status: int, body: Any, kind: type[ProxyError], code: str
) -> None:
    responses.post(f"{BASE}/responses", status=status, body=body if isinstance(body, str) else json.dumps(body))
    with pytest.raises(kind) as refusal:
        relay.open(TURN)
    assert refusal.value.code == code
    assert "sk-planted" not in refusal.value.message


@responses.activate
@pytest.mark.parametrize(("key", "words"), [("sk-planted", "does not accept RELAY_KEY"), ("", "Please set RELAY_KEY")])
def test_a_key_that_is_missing_is_told_from_one_that_is_wrong(key: str, words: str) -> None:
    responses.post(f"{BASE}/responses", status=401, body="{}")
    address = RelayAddress(BASE, key, "RELAY_KEY")
    with pytest.raises(LoginExpired, match=words):
        RelayBackend("my relay", address, Transport(BASE, {}), wait=lambda sock, seconds: True).open(TURN)


@responses.activate
@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (requests.ConnectTimeout(), UpstreamTimeout),
        (requests.ReadTimeout(), UpstreamTimeout),
        (requests.ConnectionError("refused"), UpstreamFailed),
    ],
)
def test_a_relay_out_of_reach_is_told(relay: RelayBackend, failure: Exception, kind: type[ProxyError]) -> None:
    responses.post(f"{BASE}/responses", body=failure)
    with pytest.raises(kind):
        relay.open(TURN)


@responses.activate
@pytest.mark.parametrize(
    ("answer", "slugs"),
    [
        ({"object": "list", "data": [{"id": "gpt-5.2"}, {"id": 3}, "x"]}, ["gpt-5.2"]),
        ({"models": [{"slug": "gpt-6", "context_window": 5}]}, ["gpt-6"]),
    ],
)
def test_models_are_read_from_either_form(relay: RelayBackend, answer: Any, slugs: list[str]) -> None:
    responses.get(f"{BASE}/models", json=answer)
    assert [row["slug"] for row in relay.models()] == slugs


@responses.activate
def test_a_list_of_models_of_another_form_is_told(relay: RelayBackend) -> None:
    responses.get(f"{BASE}/models", json={"x": 1})
    with pytest.raises(UpstreamFailed):
        relay.models()


@responses.activate
def test_compaction_is_passed_on_and_there_is_no_quota(relay: RelayBackend) -> None:
    responses.post(f"{BASE}/responses/compact", json={"id": "resp_1", "output": []})
    assert relay.compact({"model": "m", "input": []}) == {"id": "resp_1", "output": []}
    with pytest.raises(NotLoggedIn):
        relay.usage()
