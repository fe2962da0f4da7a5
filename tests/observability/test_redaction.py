"""Secrets of every shape leave no trace in a text; ordinary words stay."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.observability.redaction import REDACTED, Redactor

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"
REFRESH = "rt_8sQd7VnWlkx0Zp.4uYt"
OPAQUE = "Qm9yaW5nIHNlY3JldA"
SECRETS = (JWT, REFRESH, OPAQUE)

LEAKS = {
    "a bearer header": f"Authorization: Bearer {OPAQUE}",
    "a bearer value on its own": f"sent Bearer {OPAQUE} upstream",
    "a basic header": f"authorization: Basic {OPAQUE}=",
    "a bare access token": f"token was {JWT}",
    "a bare refresh token": f"spent {REFRESH}",
    "a platform key": f"key sk-{OPAQUE} refused",
    "an authorization code": f"GET /auth/callback?code=ac_{OPAQUE}&state=1",
    "a key header": f"x-api-key: {OPAQUE}",
    "another key header": f"api-key={OPAQUE}",
    "a cookie": f"Cookie: a=1; __cf_bm={OPAQUE}",
    "a cookie being set": f"set-cookie: session={OPAQUE}; Path=/",
    "a JSON field": json.dumps({"refresh_token": OPAQUE, "n": 1}),
    "a JSON field with a quote in it": json.dumps({"id_token": f'a"{OPAQUE}'}),
    "a JSON field that was cut off": json.dumps({"access_token": OPAQUE})[:-4],
    "a JSON field cut within an escape": '{"access_token":"' + OPAQUE + "\\",
    "JSON within JSON": json.dumps({"body": json.dumps({"access_token": OPAQUE})}),
    "JSON within JSON within JSON": json.dumps([json.dumps([json.dumps({"clientSecret": OPAQUE})])]),
    "a Python dictionary": str({"access_token": OPAQUE}),
    "a header dictionary": str({"Authorization": f"Bearer {OPAQUE}"}),
    "a form body": f"grant_type=refresh_token&refresh_token={OPAQUE}&x=1",
    "a PKCE verifier": f"code_verifier={OPAQUE}",
    "a URL with a password": f"via http://me:{OPAQUE}@proxy:3128/",
    "a URL with a password and no user": f"limits are counted at redis://:{OPAQUE}@cache:6379/0",
    "a URL with a token for a user": f"cloned https://{OPAQUE}@example.com/x",
    "a digest": f'Authorization: Digest username="me", realm="r", response="{OPAQUE}"',
    "a scheme nobody knows": f"authorization: Negotiate {OPAQUE}==",
    "a password in a sentence": f"password: {OPAQUE}",
    "a quoted password": f'password = "two {OPAQUE}"',
    "a short name of a password": f"pwd={OPAQUE}",
    "a passphrase": f"passphrase: {OPAQUE}, next",
    "a token in a sentence": f"refresh_token: {OPAQUE}",
    "a client secret in YAML": f"client_secret: {OPAQUE}",
}


@pytest.mark.parametrize("text", LEAKS.values(), ids=LEAKS.keys())
def test_a_secret_is_taken_out_of(text: str) -> None:
    shown = Redactor()(text)
    assert REDACTED in shown
    assert not any(secret in shown for secret in SECRETS)


@pytest.mark.parametrize(
    "text",
    [
        "request end status=200 input_tokens=12 output_tokens=3 code=invalid_json ms=41",
        '{"usage": {"total_tokens": 15}, "max_output_tokens": 100}',
        "gpt-5.2-codex answered 12 tokens",
        "http://127.0.0.1:3000/v1/chat/completions",
        "the bearer of good news",
        "max tokens: 12, total_tokens=15 is no secret to anybody",
        "see https://example.com/a?mail=me@example.com",
        "authorization is missing",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert Redactor()(text) == text


def test_a_known_key_is_hidden_wherever_it_stands_and_however_json_writes_it() -> None:
    key = 'pro"xy\\key'
    redact = Redactor([key])
    assert key not in redact(f"you sent {key}, really")
    assert "xy" not in redact(json.dumps({"note": key}))


def test_a_key_too_short_to_be_one_does_not_blot_out_words() -> None:
    assert Redactor(["a", ""])("a banana") == "a banana"


def test_a_redactor_never_shows_what_it_knows() -> None:
    assert "hunter22" not in repr(Redactor(["hunter22"]))


@given(st.text(max_size=40), st.text(max_size=40))
def test_known_keys_vanish_between_any_texts(before: str, after: str) -> None:
    assert "k3y-0f-ours" not in Redactor(["k3y-0f-ours"])(f"{before}k3y-0f-ours{after}")


@pytest.mark.parametrize("piece", ["\\", '"', "a-", "eyJ", "token", '"token":"', "://a:", "Bearer ", "cookie:"])
def test_redaction_stays_quick_on_hostile_text(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    begin = time.process_time()
    Redactor(["k3y-0f-ours"])(text)
    assert time.process_time() - begin < 5
