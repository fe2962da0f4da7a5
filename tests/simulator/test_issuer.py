"""The issuer: real PKCE checks, one-use codes, one-use rotating refresh tokens, every error of the table."""

import html
import http.client
import json
import re
import secrets
from base64 import urlsafe_b64decode
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from codexproxy.simulator import recipes
from codexproxy.simulator.issuer import s256
from codexproxy.simulator.tokens import AUTH_CLAIM, CLIENT_ID
from tests.simulator.talk import Answer, Talker

Json = dict[str, Any]

REDIRECT = "http://localhost:1455/auth/callback"
VERIFIER = secrets.token_urlsafe(64)
SCOPE = "openid profile email offline_access"


def authorize(talker: Talker, **changes: str | None) -> Answer:
    fields = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT,
        "code_challenge": s256(VERIFIER),
        "code_challenge_method": "S256",
        "state": "state-1",
        "scope": SCOPE,
        "id_token_add_organizations": "true",
        "codex_cli_simplified_flow": "true",
        "originator": "codex_cli_rs",
    }
    query = urlencode({name: value for name, value in {**fields, **changes}.items() if value is not None})
    return talker.request("GET", f"/oauth/authorize?{query}")


def came_back(answer: Answer) -> dict[str, str]:
    assert answer.status == 302
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def approved(talker: Talker, **changes: str | None) -> str:
    talker.sim.rules(auto_approve=True)
    return came_back(authorize(talker, **changes))["code"]


def exchange(talker: Talker, code: str, **changes: str) -> Answer:
    fields = {"client_id": CLIENT_ID, "code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER, **changes}
    return talker.form("/oauth/token", grant_type="authorization_code", **fields)


def refresh(talker: Talker, token: str, **more: str) -> Answer:
    fields = {"client_id": CLIENT_ID, "grant_type": "refresh_token", "refresh_token": token, **more}
    return talker.request("POST", "/oauth/token", fields)


def claims(token: str) -> Json:
    payload = token.split(".")[1]
    decoded: Json = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return decoded


def test_the_page_asks_and_its_button_leads_back_with_a_code(talker: Talker) -> None:
    page = authorize(talker)
    assert (page.status, b"<button" in page.body) == (200, True)

    query = urlencode({"decision": "allow", **_hidden_fields(page)})
    back = came_back(talker.request("GET", f"/oauth/authorize/decision?{query}"))

    assert back["state"] == "state-1"
    assert exchange(talker, back["code"]).status == 200


def test_the_other_button_says_no(talker: Talker) -> None:
    query = urlencode({"decision": "deny", **_hidden_fields(authorize(talker))})

    back = came_back(talker.request("GET", f"/oauth/authorize/decision?{query}"))

    assert (back["error"], back["state"]) == ("access_denied", "state-1")


def _hidden_fields(page: Answer) -> dict[str, str]:
    found = re.findall(r'name="([^"]+)" value="([^"]*)">', page.body.decode())
    return {html.unescape(name): html.unescape(value) for name, value in found if name != "decision"}


def test_a_whole_login_gives_three_tokens_of_one_account(talker: Talker) -> None:
    talker.sim.settings(person={"email": "ann@example.com", "plan": "pro", "account_id": "acc-1"})
    answer = exchange(talker, approved(talker)).json

    assert answer["expires_in"] == 864000
    assert answer["token_type"] == "Bearer"
    for token in (answer["access_token"], answer["id_token"]):
        auth = claims(token)[AUTH_CLAIM]
        assert (auth["chatgpt_account_id"], auth["chatgpt_plan_type"]) == ("acc-1", "pro")
    assert claims(answer["id_token"])["email"] == "ann@example.com"
    access = claims(answer["access_token"])
    assert access["exp"] - access["iat"] == 864000
    signed_in = Talker(talker.sim, {**answer, "account_id": "acc-1"})
    assert signed_in.turn().status == 200


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"code": "ac_other"}, "invalid_grant"),
        ({"redirect_uri": REDIRECT + "/"}, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:1455/auth/callback"}, "invalid_grant"),
        ({"code_verifier": VERIFIER + "x"}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"client_id": "app_other"}, "invalid_client"),
    ],
)
def test_an_exchange_that_does_not_fit_is_refused(talker: Talker, changes: dict[str, str], code: str) -> None:
    answer = exchange(talker, **{"code": approved(talker), **changes})

    assert answer.status in (400, 401)
    assert answer.json["error"]["code"] == code


def test_a_code_works_once(talker: Talker) -> None:
    code = approved(talker)

    assert exchange(talker, code).status == 200
    assert exchange(talker, code).json["error"]["code"] == "invalid_grant"


def test_without_offline_access_there_is_no_refresh_token(talker: Talker) -> None:
    assert "refresh_token" not in exchange(talker, approved(talker, scope="openid email")).json


@pytest.mark.parametrize(
    "changes",
    [{"client_id": "other"}, {"redirect_uri": "http://evil.example/auth/callback"}, {"redirect_uri": None}]
    + [{"redirect_uri": "http://localhost:1455/other"}, {"redirect_uri": "https://localhost:1455/auth/callback"}],
)
def test_nobody_is_sent_to_a_place_that_is_not_registered(talker: Talker, changes: dict[str, str | None]) -> None:
    assert authorize(talker, **changes).status == 400


def test_only_the_two_registered_ports_count_under_their_rule(talker: Talker) -> None:
    other = "http://localhost:1460/auth/callback"
    assert authorize(talker, redirect_uri=other).status == 200
    talker.sim.rules(registered_ports_only=True)
    assert authorize(talker, redirect_uri=other).status == 400
    assert authorize(talker, redirect_uri="http://127.0.0.1:1457/auth/callback").status == 200


@pytest.mark.parametrize(
    "changes",
    [{"response_type": "token"}, {"code_challenge": "short"}, {"code_challenge_method": "plain"}, {"state": None}]
    + [{"scope": "email"}, {"code_challenge": None}],
)
def test_a_wrong_parameter_comes_back_as_invalid_request(talker: Talker, changes: dict[str, str | None]) -> None:
    talker.sim.rules(auto_approve=True)

    assert came_back(authorize(talker, **changes))["error"] == "invalid_request"


def test_a_refusal_carries_its_description(talker: Talker) -> None:
    talker.sim.rules(deny_login={"description": "missing_codex_entitlement"})

    back = came_back(authorize(talker))

    assert (back["error"], back["error_description"]) == ("access_denied", "missing_codex_entitlement")


@pytest.mark.parametrize("form", [True, False], ids=["form", "json"])
def test_a_refresh_rotates_and_the_old_token_is_spent(talker: Talker, form: bool) -> None:
    old = talker.tokens["refresh_token"]
    fields = {"client_id": CLIENT_ID, "grant_type": "refresh_token", "refresh_token": old}
    first = talker.form("/oauth/token", **fields) if form else refresh(talker, old, refresh_reason="proactive_expiry")
    again = refresh(talker, old)

    assert first.json["refresh_token"] != old
    assert (again.status, again.json["error"]["code"]) == (401, "refresh_token_reused")
    counters = talker.sim.counters()
    assert (counters["refreshes"], counters["reuse_detections"]) == (1, 1)
    assert refresh(talker, first.json["refresh_token"]).status == 200
    assert talker.turn().status == 200


def test_tokens_can_be_short_lived(talker: Talker) -> None:
    talker.sim.settings(access_lifetime=120)

    answer = refresh(talker, talker.tokens["refresh_token"]).json

    token = claims(answer["access_token"])
    assert (answer["expires_in"], token["exp"] - token["iat"]) == (120, 120)


@pytest.mark.parametrize(
    ("rule", "status", "code"),
    [
        ("refresh_expired", 401, "refresh_token_expired"),
        ("refresh_reused", 401, "refresh_token_reused"),
        ("refresh_invalidated", 401, "refresh_token_invalidated"),
        ("refresh_other_401", 401, "something_new"),
    ],
)
def test_every_terminal_error_can_be_had_in_each_of_its_forms(
    talker: Talker, rule: str, status: int, code: str
) -> None:
    token = talker.tokens["refresh_token"]
    talker.sim.rules(**{rule: True})
    answer = refresh(talker, token)
    assert (answer.status, answer.json["error"]["code"]) == (status, code)

    talker.sim.rules(terminal_refresh_is_400=True)
    assert refresh(talker, token).status == 400

    talker.sim.rules(oauth_string_errors=True)
    assert refresh(talker, token).json["error"] == code

    talker.sim.rules(**{rule: False})
    assert refresh(talker, token).status == 200, "a scripted refusal must not spend the token"


def test_invalid_grant_comes_in_its_string_form(talker: Talker) -> None:
    talker.sim.rules(refresh_invalid_grant=True)

    answer = refresh(talker, talker.tokens["refresh_token"])

    assert (answer.status, answer.json["error"]) == (400, "invalid_grant")


def test_an_unavailable_issuer_spends_nothing(talker: Talker) -> None:
    talker.sim.rules(refresh_unavailable={"times": 1, "status": 502})

    assert refresh(talker, talker.tokens["refresh_token"]).status == 502
    assert refresh(talker, talker.tokens["refresh_token"]).status == 200


def test_a_new_token_can_be_expired_already(talker: Talker) -> None:
    talker.sim.rules(refresh_still_expired=True)

    answer = refresh(talker, talker.tokens["refresh_token"]).json

    renewed = Talker(talker.sim, {**answer, "account_id": talker.tokens["account_id"]})
    assert renewed.turn().json["error"]["code"] == "token_expired"


def test_fields_can_be_left_out(talker: Talker) -> None:
    talker.sim.rules(refresh_omits={"fields": ["access_token", "expires_in"]})

    answer = refresh(talker, talker.tokens["refresh_token"]).json

    assert set(answer) == {"refresh_token", "id_token", "token_type", "scope"}


def test_a_rotation_can_be_lost_on_the_way(talker: Talker) -> None:
    token = talker.tokens["refresh_token"]
    talker.sim.rules(refresh_cut_after_rotation={"times": 1})

    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        refresh(talker, token)

    assert refresh(talker, token).json["error"]["code"] == "refresh_token_reused"
    assert talker.sim.counters()["refreshes_cut"] == 1


def test_a_slow_issuer_has_rotated_before_it_answers(talker: Talker) -> None:
    talker.sim.rules(refresh_slow={"ms": 150})
    token = talker.tokens["refresh_token"]

    assert refresh(talker, token).status == 200
    assert refresh(talker, token).json["error"]["code"] == "refresh_token_reused"


def test_reuse_can_kill_the_whole_login(talker: Talker) -> None:
    token = talker.tokens["refresh_token"]
    talker.sim.rules(reuse_revokes_family=True)
    new = refresh(talker, token).json["refresh_token"]
    refresh(talker, token)

    assert refresh(talker, new).json["error"]["code"] == "refresh_token_invalidated"
    assert talker.turn().json["error"]["code"] == "token_invalidated"


def test_expired_and_unknown_refresh_tokens_are_told_apart(talker: Talker) -> None:
    talker.sim.expire(talker.tokens["refresh_token"])

    assert refresh(talker, talker.tokens["refresh_token"]).json["error"]["code"] == "refresh_token_expired"
    assert refresh(talker, "rt_unknown").status == 401


def test_revoking_the_refresh_token_ends_the_login(talker: Talker) -> None:
    token = talker.tokens["refresh_token"]
    fields = {"token": token, "token_type_hint": "refresh_token", "client_id": CLIENT_ID}

    assert talker.request("POST", "/oauth/revoke", fields).status == 200
    assert refresh(talker, token).json["error"]["code"] == "refresh_token_invalidated"
    assert talker.turn().json["error"]["code"] == "token_invalidated"
    assert talker.request("POST", "/oauth/revoke", {"token": "unknown"}).status == 200
    assert talker.sim.counters()["revocations"] == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"grant_type=password", b"\xff\xfe"])
def test_garbage_at_the_token_endpoint_is_a_400(talker: Talker, body: bytes) -> None:
    assert talker.request("POST", "/oauth/token", body).status == 400


def test_the_token_endpoint_takes_scripts(talker: Talker) -> None:
    talker.sim.script(recipes.http(429, {"error": "slow_down"}), endpoint="token")

    assert refresh(talker, talker.tokens["refresh_token"]).status == 429
    assert refresh(talker, talker.tokens["refresh_token"]).status == 200


def test_every_known_token_and_its_state_can_be_listed(talker: Talker) -> None:
    refresh(talker, talker.tokens["refresh_token"])
    talker.sim.revoke(talker.tokens["access_token"])

    known = talker.sim.tokens()

    assert [item["state"] for item in known["access"]] == ["revoked", "live"]
    assert [item["state"] for item in known["refresh"]] == ["used", "live"]


def start_device(talker: Talker) -> Json:
    started: Json = talker.request("POST", "/api/accounts/deviceauth/usercode", {"client_id": CLIENT_ID}).json
    return started


def poll_device(talker: Talker, started: Json) -> Answer:
    fields = {name: started[name] for name in ("device_auth_id", "user_code")}
    return talker.request("POST", "/api/accounts/deviceauth/token", fields)


def test_a_device_login_waits_for_its_person_and_then_works_once(talker: Talker) -> None:
    started = start_device(talker)
    assert started["interval"] == "5"
    assert poll_device(talker, started).status == 403
    talker.sim.rules(device_pending_is_404=True)
    assert poll_device(talker, started).status == 404

    page = talker.request("GET", f"/codex/device?user_code={started['user_code'].lower()}&decision=allow")
    answer = poll_device(talker, started).json

    assert page.status == 200
    assert answer["code_challenge"] == s256(answer["code_verifier"])
    redirect_uri = f"http://{talker.address[0]}:{talker.address[1]}/deviceauth/callback"
    code, verifier = answer["authorization_code"], answer["code_verifier"]
    assert exchange(talker, code, code_verifier=verifier, redirect_uri=redirect_uri).status == 200
    assert poll_device(talker, started).status == 400
    assert len(talker.sim.counters()["device_poll_times"]) == 4


def test_a_device_login_can_be_settled_by_control(talker: Talker) -> None:
    first, second = start_device(talker), start_device(talker)

    assert talker.sim.deny_device(first["user_code"])
    assert talker.sim.approve_device()
    assert poll_device(talker, first).status == 400
    assert poll_device(talker, second).status == 200
    assert not talker.sim.approve_device("XXXX-XXXXX")


def test_device_login_can_be_switched_off(talker: Talker) -> None:
    talker.sim.rules(device_disabled=True)

    assert talker.request("POST", "/api/accounts/deviceauth/usercode", {"client_id": CLIENT_ID}).status == 404


def test_the_poll_interval_is_sent_as_it_is_set(talker: Talker) -> None:
    talker.sim.settings(device_interval="1")

    assert start_device(talker)["interval"] == "1"
