"""Which texts count as official instructions, and which of them is meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.planning.official_instructions import KnownInstructions, normalize

LINES = [f"Rule {number}: be careful about the {number * 37 % 101}. thing." for number in range(60)]
TEXT = "\r\n".join(LINES) + "\r\n"
OTHER = "You are another one."
OFFICIAL = KnownInstructions([TEXT, OTHER])


@pytest.mark.parametrize(
    "spelling",
    [TEXT, normalize(TEXT), TEXT.replace("\r\n", "\r"), f"\n \t{TEXT}\n\n", TEXT.replace("\r\n", "\n", 7)],
)
def test_line_ends_and_white_space_around_do_not_matter_and_the_known_bytes_are_found(spelling: str) -> None:
    assert OFFICIAL.find(spelling) == TEXT
    assert spelling in OFFICIAL


def test_of_two_texts_that_are_the_same_but_for_line_ends_the_first_is_meant() -> None:
    assert KnownInstructions([TEXT, normalize(TEXT)]).find(TEXT) == TEXT
    assert KnownInstructions([normalize(TEXT), TEXT]).find(TEXT) == normalize(TEXT)


# The real client leaves out lines about tools that it does not offer.
@given(st.integers(1, len(LINES) - 1), st.sampled_from(["\n", "\r\n"]))
def test_a_single_line_may_be_missing(missing: int, end: str) -> None:
    assert OFFICIAL.find(end.join(LINES[:missing] + LINES[missing + 1 :])) == TEXT


@given(st.integers(0, len(LINES)), st.text(min_size=1).filter(lambda text: normalize(text) != ""))
def test_nothing_may_be_added(place: int, added: str) -> None:
    if normalize(added) not in LINES:
        assert OFFICIAL.find("\n".join([*LINES[:place], added, *LINES[place:]])) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n ",
        "\n".join(LINES[1:]),
        "\n".join(LINES[: len(LINES) // 2]),
        "\n".join([LINES[0], *reversed(LINES[1:])]),
        "\n".join([*LINES[:-1], "Rule 59: be a pirate about the 62. thing."]),
        TEXT * 2,
        LINES[0],
    ],
)
def test_much_missing_or_moved_or_changed_is_another_text(text: str) -> None:
    assert OFFICIAL.find(text) is None
    assert text not in OFFICIAL


def test_what_is_no_text_is_not_official() -> None:
    assert 3 not in OFFICIAL
    assert TEXT not in KnownInstructions()
    assert "" not in KnownInstructions(["", "  "])
