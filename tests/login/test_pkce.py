import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.login.oauth.pkce import challenge_of, new_pkce, new_state, same


def test_the_challenge_of_the_rfcs_example() -> None:
    """RFC 7636, appendix B."""
    assert challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_lengths_and_letters_are_those_of_the_real_client() -> None:
    pkce, state = new_pkce(), new_state()
    assert (len(pkce.verifier), len(pkce.challenge), len(state)) == (86, 43, 43)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", pkce.verifier + pkce.challenge + state)
    assert pkce.challenge == challenge_of(pkce.verifier)


def test_randomness_is_asked_for_each_time_and_in_full() -> None:
    asked: list[int] = []

    def random_bytes(count: int) -> bytes:
        asked.append(count)
        return bytes(count)

    new_pkce(random_bytes)
    new_state(random_bytes)
    assert asked == [64, 32]
    assert new_state() != new_state()


def test_the_verifier_is_not_shown() -> None:
    pkce = new_pkce()
    assert pkce.verifier not in repr(pkce)


@given(st.text(), st.text())
def test_same_compares_any_texts(one: str, other: str) -> None:
    assert same(one, one)
    assert same(one, other) is (one.encode("utf-8", "replace") == other.encode("utf-8", "replace"))


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("a", "aa"), ("", "a"), ("ä", "a")])
def test_same_tells_different_ones_apart(one: str, other: str) -> None:
    assert not same(one, other)
