import json
from dataclasses import replace

import pytest

from codexproxy.login.status import describe
from codexproxy.login.tokens.tokens import Tokens
from tests.contracts.token_stores import a_login
from tests.fakes.issuer import FakeClock, FakeIssuer


@pytest.fixture
def login() -> Tokens:
    return FakeIssuer(FakeClock()).login()


def test_the_facts_of_a_good_login(login: Tokens) -> None:
    status = describe(login, login.updated_at, "tokens.json in the data folder")
    assert status.as_dict() == {
        "logged_in": True,
        "state": "ok",
        "usable": True,
        "email": "ann@example.com",
        "plan": "plus",
        "account_id": login.account_id,
        "access_token_ends_at": "2027-01-25T08:00:00Z",
        "refreshed_at": "2027-01-15T08:00:00Z",
        "refresh_error": None,
        "source": "tokens.json in the data folder",
        "warning": None,
    }


def test_states_and_readiness_over_a_logins_life(login: Tokens) -> None:
    dead = login.buried("refresh_token_expired", login.due_at)
    barren = replace(login, refresh_token="")
    moments = [
        (login, login.updated_at, "ok", True),
        (login, login.due_at, "due", True),
        (login, login.ends_at, "expired", True),
        (dead, login.due_at, "dead", True),
        (dead, login.ends_at, "dead", False),
        (barren, login.updated_at, "ok", True),
        (barren, login.due_at, "dead", True),
        (barren, login.ends_at, "dead", False),
    ]
    for tokens, now, state, ready in moments:
        status = describe(tokens, now, "somewhere")
        assert (status.state, status.ready) == (state, ready)


def test_without_a_login() -> None:
    status = describe(None, 0, "somewhere")
    assert not status.ready
    assert status.as_dict()["logged_in"] is False


def test_an_opaque_token_has_no_known_facts_and_is_no_obstacle() -> None:
    facts = describe(Tokens(access_token="opaque"), 1, "somewhere").as_dict()
    assert (facts["email"], facts["access_token_ends_at"], facts["refreshed_at"]) == (None, None, None)


def test_a_variable_with_an_older_login_is_warned_about(login: Tokens) -> None:
    assert "CODEX_TOKENS_JSON" in describe(login, 0, "somewhere", a_login(2)).warning
    assert describe(login, 0, "somewhere", login).warning == ""


def test_no_token_is_ever_told(login: Tokens) -> None:
    told = json.dumps(describe(login, login.ends_at, "somewhere", a_login()).as_dict())
    for secret in (login.access_token, login.refresh_token, login.id_token):
        assert secret not in told
