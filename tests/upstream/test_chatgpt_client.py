"""The Codex backend's client: headers, login recovery, refusals as errors of ours."""

import json
import threading
from typing import Any

import pytest
import requests
import responses

from codexproxy.errors import LoginExpired, ProxyError, UpstreamFailed, UpstreamTimeout
from codexproxy.protocol.request import Credential, Turn
from codexproxy.protocol.stream import Deadlines, TimeLimits
from codexproxy.upstream.chatgpt.client import ChatGptBackend
from codexproxy.upstream.chatgpt.error_mapping import refusal
from codexproxy.upstream.chatgpt.headers import ClientIdentity, redacted, turn_headers
from codexproxy.upstream.chatgpt.transport import Transport

BASE = "https://upstream.example/backend-api"
TURNS = f"{BASE}/codex/responses"
TURN = Turn("gpt-5.2", {"model": "gpt-5.2", "input": []}, cache_key="key-1")
STREAM = b'event: response.completed\ndata: {"type":"response.completed","response":{"id":"r"}}\n\n'


class CountedCredentials:
    """A login whose first token is old; counts what it was asked."""

    def __init__(self) -> None:
        self.recovered: list[str] = []
        self._lock = threading.Lock()

    def current(self) -> Credential:
        return Credential("new" if self.recovered else "old", "account-1")

    def recover(self, rejected: str) -> Credential:
        with self._lock:
            self.recovered.append(rejected)
        return Credential("new", "account-1")


@pytest.fixture
def credentials() -> CountedCredentials:
    return CountedCredentials()


@pytest.fixture
def backend(credentials: CountedCredentials) -> ChatGptBackend:
    return ChatGptBackend("main", BASE, Transport(BASE, {}), credentials, wait=lambda sock, seconds: True)


@responses.activate
def test_a_turn_is_sent_with_the_headers_upstream_expects(backend: ChatGptBackend) -> None:
    responses.post(TURNS, body=STREAM, content_type="text/event-stream")
    stream = backend.open(TURN)
    assert [event.type for batch in stream for event in batch] == ["response.completed"]
    sent = responses.calls[0].request
    assert json.loads(sent.body) == TURN.body
    assert sent.headers["Authorization"] == "Bearer old"
    assert sent.headers["chatgpt-account-id"] == "account-1"
    for name in ("session_id", "conversation_id", "session-id"):
        assert sent.headers[name] == "key-1"
    assert stream.answerer.backend == "main"


@responses.activate
def test_a_rejected_login_is_recovered_once(backend: ChatGptBackend, credentials: CountedCredentials) -> None:
    responses.post(TURNS, status=401, json={"detail": "Unauthorized"})
    responses.post(TURNS, body=STREAM, content_type="text/event-stream")
    backend.open(TURN)
    assert credentials.recovered == ["old"]
    assert responses.calls[1].request.headers["Authorization"] == "Bearer new"


@responses.activate
def test_a_login_rejected_twice_names_the_command(backend: ChatGptBackend, credentials: CountedCredentials) -> None:
    responses.post(TURNS, status=401, json={"detail": "Unauthorized"})
    with pytest.raises(LoginExpired, match="codexproxy login"):
        backend.open(TURN)
    assert len(responses.calls) == 2


@responses.activate
@pytest.mark.parametrize(
    ("failure", "kind", "told"),
    [
        (requests.ConnectTimeout(), UpstreamTimeout, "connect limit"),
        (requests.ReadTimeout("in the TLS handshake"), UpstreamTimeout, "connect limit"),
        (requests.ConnectionError("refused"), UpstreamFailed, "could not be reached"),
        (requests.exceptions.SSLError("bad"), UpstreamFailed, "could not be reached"),
    ],
)
def test_an_upstream_out_of_reach_is_told_plainly(
    backend: ChatGptBackend, failure: Exception, kind: type[ProxyError], told: str
) -> None:
    responses.post(TURNS, body=failure)
    with pytest.raises(kind, match=told):
        backend.open(TURN)


@responses.activate
def test_models_are_asked_for_with_our_version(backend: ChatGptBackend) -> None:
    responses.get(f"{BASE}/codex/models", json={"models": [{"slug": "a"}, {"no": "slug"}, 3]})
    assert backend.models() == [{"slug": "a"}]
    assert responses.calls[0].request.params == {"client_version": "0.169.0"}


@responses.activate
@pytest.mark.parametrize("body", ["{}", "[]", "nonsense", '{"models": 3}'])
def test_a_catalogue_of_unknown_form_is_a_failure(backend: ChatGptBackend, body: str) -> None:
    responses.get(f"{BASE}/codex/models", body=body)
    with pytest.raises(UpstreamFailed):
        backend.models()


REFUSALS: list[tuple[int, Any, int, str]] = [
    (400, {"detail": "Unsupported parameter: x"}, 400, "upstream_rejected"),
    (400, {"error": {"message": "m", "code": "invalid_value", "param": "input[1]"}}, 400, "invalid_value"),
    (400, {"error": {"message": "m", "code": "context_length_exceeded"}}, 400, "context_length_exceeded"),
    (400, {"error": {"message": "m", "code": "invalid_prompt"}}, 400, "invalid_prompt"),
    (400, {"error": {"message": "m", "code": "invalid_encrypted_content"}}, 400, "invalid_encrypted_content"),
    (
        400,
        {"detail": "The 'x' model is not supported when using Codex with a ChatGPT account."},
        404,
        "model_not_found",
    ),
    (402, {"detail": {"code": "deactivated_workspace"}}, 402, "account_deactivated"),
    (403, {"detail": "no"}, 403, "upstream_forbidden"),
    (404, {"detail": "Not Found"}, 400, "upstream_rejected"),
    (404, {"error": {"type": "usage_limit_reached", "message": "m"}}, 429, "usage_limit_reached"),
    (429, {"error": {"type": "usage_limit_reached", "message": "m"}}, 429, "usage_limit_reached"),
    (429, {"error": {"type": "usage_not_included", "message": "m"}}, 403, "usage_not_included"),
    (429, {"detail": "slower"}, 429, "rate_limit_exceeded"),
    (500, {"detail": "oops"}, 502, "upstream_unavailable"),
    (503, {"error": {"code": "server_is_overloaded"}}, 503, "overloaded"),
    (503, {"error": {"code": "slow_down"}}, 503, "overloaded"),
    (503, "", 503, "overloaded"),
    (302, "", 502, "upstream_unavailable"),
    (418, "tea", 400, "upstream_rejected"),
]


@pytest.mark.parametrize(("status", "body", "shown", "code"), REFUSALS)
def test_every_refusal_has_its_place_in_the_contract(status: int, body: Any, shown: int, code: str) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    error = refusal(status, {}, raw)
    assert (error.status, error.code) == (shown, code)
    assert error.message


def test_a_challenge_page_is_not_mistaken_for_a_refusal_and_not_quoted() -> None:
    for headers, body in (({"cf-mitigated": "challenge"}, b"x"), ({}, b"\n <!DOCTYPE html><p>Just a moment")):
        error = refusal(403, headers, body)
        assert (error.status, error.code, error.retryable) == (502, "upstream_challenge", False)
        assert "moment" not in error.message


def test_an_html_page_of_a_broken_upstream_is_no_challenge() -> None:
    assert refusal(500, {}, b"<html>oops</html>").code == "upstream_unavailable"
    assert refusal(500, {"cf-ray": "1"}, b"<html>oops</html>").code == "upstream_challenge"


@pytest.mark.parametrize(
    ("body", "told"), [(b"teapot", "418"), (b"", "418"), (b'{"detail":[{"loc":["a"],"msg":"b is bad"}]}', "b is bad")]
)
def test_a_refusal_without_a_reason_says_its_status(body: bytes, told: str) -> None:
    assert told in refusal(418, {}, body).message


@responses.activate
@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("text/html", "<html>Just a moment</html>", "upstream_challenge"),
        ("application/json", '{"error": {"code": "server_is_overloaded", "message": "busy"}}', "overloaded"),
        ("application/json; charset=utf-8", "{}", "upstream_unavailable"),
    ],
)
def test_a_200_that_is_no_stream_is_a_refusal(backend: ChatGptBackend, kind: str, body: str, code: str) -> None:
    responses.post(TURNS, body=body, content_type=kind)
    with pytest.raises(ProxyError) as caught:
        backend.open(TURN)
    assert caught.value.code == code


def test_a_reset_time_is_kept_for_clients_that_show_it() -> None:
    body = {
        "error": {
            "type": "usage_limit_reached",
            "message": "m",
            "plan_type": "plus",
            "resets_at": 9,
            "resets_in_seconds": 7,
        }
    }
    error = refusal(429, {}, json.dumps(body).encode())
    assert error.retry_after == 7
    assert error.as_dict()["resets_at"] == 9 and error.as_dict()["plan_type"] == "plus"


def test_a_retry_after_header_counts_for_short_limits() -> None:
    assert refusal(429, {"retry-after": "1"}, b"{}").retryable
    assert not refusal(429, {"retry-after": "600"}, b"{}").retryable
    assert refusal(429, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"{}").retry_after is None


def test_headers_for_a_human_to_read_hold_no_credential() -> None:
    headers = turn_headers(ClientIdentity(), Credential("top-secret", "account-1"), TURN)
    assert "top-secret" not in repr(redacted(headers))
    assert "top-secret" not in repr(Credential("top-secret", "account-1"))


@pytest.mark.parametrize(
    ("limits", "heard", "now", "named"),
    [
        (TimeLimits(first_event=10), None, 10, "first event"),
        (TimeLimits(first_event=10, idle=5), 3, 8, "idle"),
        (TimeLimits(total=20), 19, 20, "total"),
        (TimeLimits(None, None, None, None), None, 1e9, None),
        (TimeLimits(first_event=10, idle=5), 9.5, 12, None),
    ],
)
def test_the_clocks_of_a_turn_are_separate(
    limits: TimeLimits, heard: float | None, now: float, named: str | None
) -> None:
    deadlines = Deadlines(limits, 0)
    if heard is not None:
        deadlines.heard(heard)
    if named is None:
        assert deadlines.left(now) > 0
    else:
        with pytest.raises(UpstreamTimeout, match=named):
            deadlines.left(now)
