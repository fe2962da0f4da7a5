import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.errors import InvalidRequest
from codexproxy.login.oauth.callback import Callback, parse_pasted

WHOLE = Callback(code="ac_1", state="s-1")


@pytest.mark.parametrize(
    "pasted",
    [
        "http://localhost:1455/auth/callback?code=ac_1&state=s-1",
        "http://127.0.0.1:1455/auth/callback?scope=openid+profile&state=s-1&code=ac_1",
        "  http://localhost:1455/auth/callback?code=ac_1&state=s-1\n",
        "'http://localhost:1455/auth/callback?code=ac_1&state=s-1'",
        "<http://localhost:1455/auth/callback?code=ac_1&state=s-1>",
        "http://localhost:1455/auth/callback?code=ac\n_1&sta\nte=s-1",
        "localhost:1455/auth/callback?code=ac_1&state=s-1",
        "http://localhost:1455/auth/callback#code=ac_1&state=s-1",
        "/auth/callback?code=ac_1&state=s-1",
        "?code=ac_1&state=s-1",
        "code=ac_1&state=s-1",
    ],
)
def test_the_whole_address_is_understood_however_it_was_copied(pasted: str) -> None:
    assert parse_pasted(pasted) == WHOLE


@pytest.mark.parametrize("pasted", ["ac_1", " ac_1 \n", '"ac_1"', "code=ac_1"])
def test_only_the_code_is_enough_and_then_there_is_no_state(pasted: str) -> None:
    assert parse_pasted(pasted) == Callback(code="ac_1", state=None)


def test_percent_escapes_are_undone() -> None:
    assert parse_pasted("http://localhost:1455/auth/callback?code=a%2Fb%2B&state=s%2D1") == Callback("a/b+", "s-1")


def test_a_pasted_error_is_an_error() -> None:
    pasted = "http://localhost:1455/auth/callback?error=access_denied&error_description=no+way&state=s-1"
    assert parse_pasted(pasted) == Callback(state="s-1", error="access_denied", description="no way")


@pytest.mark.parametrize(
    "pasted",
    [
        "",
        "  \n",
        "''",
        "https://auth.openai.com/oauth/authorize?x=1",
        "http://localhost:1455/auth/callback?state=s",
        "code=",
    ],
)
def test_what_holds_no_code_is_refused_with_a_hint(pasted: str) -> None:
    with pytest.raises(InvalidRequest, match="(?i)paste"):
        parse_pasted(pasted)


@given(st.text())
def test_any_text_is_a_callback_or_a_refusal(text: str) -> None:
    try:
        callback = parse_pasted(text)
    except InvalidRequest:
        return
    assert callback.code or callback.error


def test_repr_shows_neither_code_nor_state() -> None:
    assert "ac_1" not in repr(WHOLE)
    assert "s-1" not in repr(WHOLE)
