"""The issuer's endpoints, at the last possible method: what is sent, and what each answer means."""

import json
import logging
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import requests
import responses

from codexproxy.errors import UpstreamFailed
from codexproxy.login.oauth.client import (
    CLIENT_ID,
    TERMINAL,
    ExchangeFailed,
    OAuthClient,
    RefreshFailed,
    RefreshRefused,
    new_session,
)

ISSUER = "https://issuer.test"
TOKEN_URL = f"{ISSUER}/oauth/token"
PAIR = {"access_token": "a-new", "refresh_token": "r-new", "id_token": "i-new", "expires_in": 864000}


@pytest.fixture
def oauth() -> OAuthClient:
    return OAuthClient(new_session(), issuer=ISSUER + "/", originator="codex_exec", user_agent="codex_exec/1")


@pytest.fixture(autouse=True)
def wire():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def nested(code: str) -> dict[str, object]:
    return {
        "error": {"message": "Your refresh token r-old …", "type": "invalid_request_error", "param": None, "code": code}
    }


def test_refresh_sends_the_body_and_headers_of_the_real_client(
    oauth: OAuthClient, wire: responses.RequestsMock
) -> None:
    wire.post(TOKEN_URL, json=PAIR)
    oauth.refresh("r-old", "proactive_expiry")
    request = wire.calls[0].request
    assert json.loads(request.body) == {
        "client_id": CLIENT_ID,
        "grant_type": "refresh_token",
        "refresh_reason": "proactive_expiry",
        "refresh_token": "r-old",
    }
    assert request.headers["content-type"] == "application/json"
    assert request.headers["originator"] == "codex_exec"
    assert request.headers["user-agent"] == "codex_exec/1"
    assert "authorization" not in request.headers


@pytest.mark.parametrize(
    "missing", [set(), {"access_token"}, {"refresh_token"}, {"id_token"}, {"expires_in"}, set(PAIR)]
)
def test_each_field_of_a_refresh_answer_may_be_missing(
    oauth: OAuthClient, wire: responses.RequestsMock, missing: set[str]
) -> None:
    wire.post(TOKEN_URL, json={name: value for name, value in PAIR.items() if name not in missing})
    grant = oauth.refresh("r-old", "forced")
    expected = {
        name: None if name == "expires_in" and name in missing else "" if name in missing else value
        for name, value in PAIR.items()
    }
    assert {name: getattr(grant, name) for name in PAIR} == expected


ROWS = [
    (401, nested("refresh_token_expired"), RefreshRefused, "refresh_token_expired"),
    (401, nested("refresh_token_reused"), RefreshRefused, "refresh_token_reused"),
    (400, nested("refresh_token_reused"), RefreshRefused, "refresh_token_reused"),
    (401, nested("refresh_token_invalidated"), RefreshRefused, "refresh_token_invalidated"),
    (400, nested("refresh_token_invalidated"), RefreshRefused, "refresh_token_invalidated"),
    (401, nested("something_new"), RefreshRefused, "refresh_refused"),
    (401, {"detail": "Unauthorized"}, RefreshRefused, "refresh_refused"),
    (401, "<html>", RefreshRefused, "refresh_refused"),
    (400, {"error": "invalid_grant", "error_description": "r-old"}, RefreshRefused, "invalid_grant"),
    (400, nested("invalid_grant"), RefreshRefused, "invalid_grant"),
    (400, {"error": "invalid_request"}, RefreshFailed, "refresh_failed"),
    (403, "<html>Just a moment...</html>", RefreshFailed, "refresh_failed"),
    (429, {"error": "slow_down"}, RefreshFailed, "refresh_failed"),
    (500, nested("refresh_token_reused"), RefreshFailed, "refresh_failed"),
    (503, "", RefreshFailed, "refresh_failed"),
    (200, "<html>", RefreshFailed, "refresh_failed"),
    (200, [], RefreshFailed, "refresh_failed"),
    (302, PAIR, RefreshFailed, "refresh_failed"),
]


@pytest.mark.parametrize(("status", "body", "kind", "code"), ROWS)
def test_every_refusal_of_a_refresh_is_terminal_or_passing(
    oauth: OAuthClient, wire: responses.RequestsMock, status: int, body: object, kind: type[Exception], code: str
) -> None:
    wire.post(TOKEN_URL, status=status, body=body if isinstance(body, str) else json.dumps(body))
    with pytest.raises(kind) as caught:
        oauth.refresh("r-old", "forced")
    assert type(caught.value) is kind
    assert caught.value.code == code  # type: ignore[attr-defined]
    assert "r-old" not in str(caught.value)


def test_every_terminal_code_has_a_row() -> None:
    assert {code for _, _, kind, code in ROWS if kind is RefreshRefused} == {*TERMINAL, "refresh_refused"}


@pytest.mark.parametrize(
    "failure",
    [
        requests.ConnectionError("r-old"),
        requests.ReadTimeout("r-old"),
        requests.exceptions.ChunkedEncodingError("r-old"),
    ],
)
def test_a_network_failure_is_passing_and_quotes_nothing(
    oauth: OAuthClient, wire: responses.RequestsMock, failure: Exception
) -> None:
    wire.post(TOKEN_URL, body=failure)
    with pytest.raises(RefreshFailed) as caught:
        oauth.refresh("r-old", "forced")
    assert "r-old" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_redirect_is_not_followed_with_the_secret(oauth: OAuthClient, wire: responses.RequestsMock) -> None:
    wire.post(TOKEN_URL, status=307, headers={"location": "https://elsewhere.test/"})
    elsewhere = wire.post("https://elsewhere.test/", json=PAIR)
    with pytest.raises(RefreshFailed):
        oauth.refresh("r-old", "forced")
    assert elsewhere.call_count == 0


def test_a_netrc_entry_adds_nothing(
    oauth: OAuthClient, wire: responses.RequestsMock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine issuer.test login ann password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    wire.post(TOKEN_URL, json=PAIR)
    oauth.refresh("r-old", "forced")
    assert "authorization" not in wire.calls[0].request.headers


def test_exchange_sends_the_form_of_the_real_client(oauth: OAuthClient, wire: responses.RequestsMock) -> None:
    wire.post(TOKEN_URL, json=PAIR)
    grant = oauth.exchange("ac_1", "verifier", "http://localhost:1455/auth/callback")
    request = wire.calls[0].request
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(request.body) == {
        "grant_type": ["authorization_code"],
        "client_id": [CLIENT_ID],
        "code": ["ac_1"],
        "redirect_uri": ["http://localhost:1455/auth/callback"],
        "code_verifier": ["verifier"],
    }
    assert (grant.access_token, grant.refresh_token, grant.id_token, grant.expires_in) == tuple(PAIR.values())


@pytest.mark.parametrize("missing", ["access_token", "refresh_token", "id_token"])
def test_a_first_pair_must_be_whole(oauth: OAuthClient, wire: responses.RequestsMock, missing: str) -> None:
    wire.post(TOKEN_URL, json={name: value for name, value in PAIR.items() if name != missing})
    with pytest.raises(ExchangeFailed):
        oauth.exchange("c", "v", "u")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"error": "invalid_grant", "error_description": "Code ac_1 was used."}, "Code … was used"),
        ({"error": "invalid_grant"}, "invalid_grant"),
        ({"error": {"message": "PKCE verifier the-verifier is wrong", "code": "pkce"}}, "PKCE verifier … is wrong"),
        ("<html>", "status 400"),
        ({"error": {"message": "x" * 5000}}, "x" * 300),
    ],
)
def test_a_refused_exchange_tells_the_issuers_reason_without_the_secrets(
    oauth: OAuthClient, wire: responses.RequestsMock, body: object, shown: str
) -> None:
    wire.post(TOKEN_URL, status=400, body=body if isinstance(body, str) else json.dumps(body))
    with pytest.raises(ExchangeFailed) as caught:
        oauth.exchange("ac_1", "the-verifier", "http://localhost:1455/auth/callback")
    assert shown in caught.value.message
    assert len(caught.value.message) < 500
    assert "ac_1" not in caught.value.message
    assert "the-verifier" not in caught.value.message


def test_revoke_names_the_refresh_token_else_the_access_token(oauth: OAuthClient, wire: responses.RequestsMock) -> None:
    wire.post(f"{ISSUER}/oauth/revoke", json={})
    oauth.revoke("r", "a")
    oauth.revoke("", "a")
    assert [json.loads(call.request.body) for call in wire.calls] == [
        {"token": "r", "token_type_hint": "refresh_token", "client_id": CLIENT_ID},
        {"token": "a", "token_type_hint": "access_token"},
    ]


def test_a_failed_revocation_is_told(oauth: OAuthClient, wire: responses.RequestsMock) -> None:
    wire.post(f"{ISSUER}/oauth/revoke", status=500)
    with pytest.raises(UpstreamFailed):
        oauth.revoke("r", "a")


def test_no_cookie_is_kept(oauth: OAuthClient, wire: responses.RequestsMock) -> None:
    wire.post(TOKEN_URL, json=PAIR, headers={"set-cookie": "__cf_bm=1; path=/"})
    for _ in range(2):
        oauth.refresh("r", "forced")
    assert "cookie" not in wire.calls[1].request.headers


def test_nothing_secret_is_logged_at_debug_level(
    oauth: OAuthClient, wire: responses.RequestsMock, caplog: pytest.LogCaptureFixture
) -> None:
    wire.post(TOKEN_URL, json=PAIR)
    with caplog.at_level(logging.DEBUG):
        oauth.refresh("r-old", "forced")
        oauth.exchange("ac_1", "the-verifier", "uri")
    for secret in ("r-old", "a-new", "r-new", "i-new", "ac_1", "the-verifier"):
        assert secret not in caplog.text
