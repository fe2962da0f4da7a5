import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.login.tokens.jwt import BrokenToken, Claims, claims_or_none, read_claims
from tests.fakes.jwt import make_jwt, segment


def test_reads_account_plan_email_and_times() -> None:
    token = make_jwt(exp=2000, iat=1000, account="acc", email="ann@example.com", plan="pro")
    assert read_claims(token) == Claims("acc", "", "pro", "ann@example.com", 2000.0, 1000.0)
    assert read_claims(token).lifetime == 1000


def test_the_email_may_sit_in_the_profile_and_the_user_under_either_name() -> None:
    payload = {
        "https://api.openai.com/profile": {"email": "bob@example.com"},
        "https://api.openai.com/auth": {"user_id": "user-1"},
    }
    claims = read_claims(f"h.{segment(payload)}.s")
    assert (claims.email, claims.user_id) == ("bob@example.com", "user-1")


@pytest.mark.parametrize("payload", [{}, {"exp": None}, {"https://api.openai.com/auth": None}, {"email": ["x"]}])
def test_absent_claims_are_empty(payload: dict[str, object]) -> None:
    assert read_claims(f"h.{segment(payload)}.s") == Claims()


@pytest.mark.parametrize(
    "exp", ["2000", True, -1, 0, 1e300, float("inf"), float("nan"), [1], 10**400], ids=lambda exp: repr(exp)[:12]
)
def test_a_time_that_is_none_counts_as_absent(exp: object) -> None:
    assert read_claims(f"h.{segment({'exp': exp})}.s").expires_at is None


@pytest.mark.parametrize(
    "token",
    ["", "opaque", "a.b", "a.b.c.d", "a.!!!.c", f"h.{segment([1])}.s", "a.bm90IGpzb24.c", "ä.ö.ü", "a..c", "h./w.s"],
)
def test_a_broken_jwt_is_a_typed_error_that_does_not_quote_it(token: str) -> None:
    with pytest.raises(BrokenToken) as caught:
        read_claims(token)
    assert not token or token not in str(caught.value)
    assert claims_or_none(token) == Claims()


def test_a_payload_nested_too_deeply_is_a_broken_token() -> None:
    bomb = base64.urlsafe_b64encode(b"[" * 200_000).rstrip(b"=").decode()
    with pytest.raises(BrokenToken):
        read_claims(f"h.{bomb}.s")


@given(st.text() | st.binary().map(lambda raw: f"h.{raw.hex()}.s"))
def test_no_text_makes_it_crash(token: str) -> None:
    with suppress(BrokenToken):
        read_claims(token)
