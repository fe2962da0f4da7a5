import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.login.tokens.tokens import EIGHT_DAYS, FIVE_MINUTES, BrokenLogin, Grant, Tokens
from tests.fakes.jwt import make_jwt

NOW = 1_800_000_000_000
SECRETS = {"access_token": "planted-access", "refresh_token": "planted-refresh", "id_token": "planted-id"}


def pair(lifetime: float, **fields: object) -> Tokens:
    exp = NOW / 1000 + lifetime
    known = {"access_token": make_jwt(exp=exp, iat=NOW / 1000), "refresh_token": "rt", "updated_at": NOW}
    return Tokens.from_json({**known, **fields})


def test_the_file_comes_back_as_it_was_unknown_fields_included() -> None:
    value = {
        **SECRETS,
        "expires_at": 1767225600000,
        "account_id": "acc",
        "updated_at": 1767139200000,
        "note": {"kept": [1, None]},
    }
    assert Tokens.from_json(value).to_json() == value


@pytest.mark.parametrize(
    "value", [None, [], "x", 1, {}, {"access_token": ""}, {"access_token": 5, "refresh_token": None}]
)
def test_what_holds_no_token_is_refused_with_the_command_to_run(value: object) -> None:
    with pytest.raises(BrokenLogin, match="codexproxy login") as caught:
        Tokens.from_json(value)
    assert caught.value.code == "not_logged_in"


@pytest.mark.parametrize("broken", ["ab\r\nx: y", "é☃", "a\x00b"])
@pytest.mark.parametrize("field", ["access_token", "account_id"])
def test_what_no_header_can_carry_is_refused_and_not_shown(field: str, broken: str) -> None:
    with pytest.raises(BrokenLogin, match=field) as caught:
        Tokens.from_json({"access_token": "a", "account_id": "b", field: broken})
    assert broken not in caught.value.message


@given(
    st.dictionaries(
        st.sampled_from([*SECRETS, "account_id", "expires_at", "updated_at", "x"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
    )
)
def test_fields_of_any_type_are_read_or_refused_and_never_crash(value: dict[str, object]) -> None:
    try:
        tokens = Tokens.from_json(value)
    except BrokenLogin:
        return
    assert isinstance(tokens.due_at, int)
    assert tokens.due_at <= tokens.ends_at or tokens.ends_at >= 1 << 62
    json.dumps(tokens.to_json())


def test_times_in_seconds_are_understood() -> None:
    assert Tokens.from_json({"access_token": "a", "expires_at": 1767225600}).expires_at == 1767225600000


@pytest.mark.parametrize(
    ("lifetime", "margin"),
    [(864_000, FIVE_MINUTES), (1500, FIVE_MINUTES), (1000, 200_000), (60, 12_000), (2, 400)],
)
def test_due_five_minutes_or_a_fifth_of_the_lifetime_before_the_end(lifetime: float, margin: int) -> None:
    tokens = pair(lifetime)
    end = NOW + int(lifetime * 1000)
    assert tokens.ends_at == end
    assert tokens.due_at == end - margin
    assert not tokens.due(end - margin - 1)
    assert tokens.due(end - margin)
    assert tokens.usable(end - 1)
    assert not tokens.usable(end)


def test_the_tokens_own_end_beats_the_one_in_the_file() -> None:
    assert pair(1000, expires_at=NOW + 5).ends_at == NOW + 1_000_000


def test_an_opaque_token_lives_from_updated_at_to_expires_at() -> None:
    tokens = Tokens(access_token="opaque", expires_at=NOW + 100_000, updated_at=NOW)
    assert (tokens.ends_at, tokens.due_at) == (NOW + 100_000, NOW + 80_000)


def test_a_token_of_unknown_end_is_due_eight_days_after_it_came_and_stays_usable() -> None:
    tokens = Tokens(access_token="opaque", updated_at=NOW)
    assert tokens.due_at == NOW + EIGHT_DAYS
    assert tokens.usable(NOW + 10 * EIGHT_DAYS)


def test_a_pair_without_an_access_token_is_due_and_unusable() -> None:
    tokens = Tokens(refresh_token="rt")
    assert tokens.due(NOW)
    assert not tokens.usable(NOW)


def test_what_a_refresh_does_not_answer_stays_as_it_was() -> None:
    old = pair(1000, id_token="id", note="kept")
    access = make_jwt(exp=NOW / 1000 + 5000, iat=NOW / 1000)
    new = old.renewed(Grant(access_token=access), NOW + 7)
    assert new == replace(old, access_token=access, expires_at=NOW + 5_000_000, updated_at=NOW + 7)
    assert new.extra == {"note": "kept"}


def test_an_opaque_token_takes_its_end_from_expires_in() -> None:
    new = Tokens().renewed(Grant(access_token="opaque", expires_in=60), NOW)
    assert (new.expires_at, new.ends_at) == (NOW + 60_000, NOW + 60_000)


def test_the_account_comes_from_the_id_token_then_from_the_access_token() -> None:
    access, identity = make_jwt(account="from-access"), make_jwt(account="from-id")
    assert Tokens.granted(Grant(access_token=access, id_token=identity), NOW).account_id == "from-id"
    assert Tokens.granted(Grant(access_token=access, id_token="opaque"), NOW).account_id == "from-access"


def test_another_account_in_either_token_is_noticed() -> None:
    old = Tokens.granted(Grant(access_token=make_jwt(account="a"), id_token=make_jwt(account="a")), NOW)
    assert not old.renewed(Grant(access_token=make_jwt(account="a")), NOW).account_differs(old)
    assert not old.renewed(Grant(access_token="opaque"), NOW).account_differs(old)
    assert old.renewed(Grant(access_token=make_jwt(account="b")), NOW).account_differs(old)
    assert old.renewed(Grant(id_token=make_jwt(account="b")), NOW).account_differs(old)


def test_repr_shows_no_token() -> None:
    tokens = Tokens.from_json({**SECRETS, "account_id": "acc", "other": "planted-extra"})
    shown = repr(tokens) + repr(tokens.access) + repr(Grant(**SECRETS))
    assert "planted" not in shown
    assert "acc" in shown


def test_an_account_that_no_header_can_carry_is_not_taken_from_a_token() -> None:
    identity = make_jwt(account="a\r\nx-header: b")
    granted = Tokens.granted(Grant(access_token="a", refresh_token="r", id_token=identity), NOW)
    assert Tokens.from_json(granted.to_json()).account_id == ""
