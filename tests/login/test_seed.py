import json
import logging
from dataclasses import replace

import pytest

from codexproxy.login.tokens.env_import import Seeding, compare, export, read_seed, seed
from codexproxy.login.tokens.file_store import MemoryTokenStore
from codexproxy.login.tokens.tokens import BrokenLogin
from tests.contracts.token_stores import a_login

VARIABLE = json.dumps(a_login().to_json())


def test_an_empty_store_takes_the_variables_login() -> None:
    store = MemoryTokenStore()
    assert seed(store, VARIABLE) is Seeding.SEEDED
    assert store.load() == a_login()
    assert seed(store, VARIABLE) is Seeding.SAME


@pytest.mark.parametrize("variable", ["", "  \n"])
def test_without_the_variable_nothing_happens(variable: str) -> None:
    store = MemoryTokenStore()
    assert seed(store, variable) is Seeding.ABSENT
    assert store.load() is None


def test_a_stored_login_is_kept_and_the_owner_warned(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryTokenStore(a_login(2))
    with caplog.at_level(logging.WARNING):
        assert seed(store, VARIABLE) is Seeding.OUTDATED
    assert store.load() == a_login(2)
    assert "codexproxy login --export" in caplog.text
    assert "rt_" not in caplog.text


def test_a_dead_login_gives_way_to_a_newer_variable_only() -> None:
    dead = a_login(2).buried("refresh_token_expired", 1)
    store = MemoryTokenStore(replace(dead, updated_at=a_login().updated_at - 1))
    assert seed(store, VARIABLE) is Seeding.SEEDED
    store = MemoryTokenStore(replace(dead, updated_at=a_login().updated_at + 1))
    assert seed(store, VARIABLE) is Seeding.OUTDATED


@pytest.mark.parametrize("variable", ["{", "[]", "{}", "null", "rt_planted", '{"access_token": ""}'])
def test_a_variable_that_holds_no_login_is_named_and_not_quoted(variable: str) -> None:
    with pytest.raises(BrokenLogin, match="CODEX_TOKENS_JSON") as caught:
        seed(MemoryTokenStore(), variable)
    assert "planted" not in str(caught.value)


def test_the_export_is_one_line_that_can_be_read_back() -> None:
    line = export(replace(a_login(), extra={"label": "home"}))
    assert "\n" not in line
    assert read_seed(line) == replace(a_login(), extra={"label": "home"})


def test_the_comparison_for_status() -> None:
    assert compare(a_login(), None) is Seeding.ABSENT
    assert compare(a_login(), a_login()) is Seeding.SAME
    assert compare(None, a_login()) is Seeding.SAME
    assert compare(a_login(2), a_login()) is Seeding.OUTDATED
