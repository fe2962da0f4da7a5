"""Each model family has a text of its own, short and neutral."""

import pytest

from codexproxy.bundled_instructions import family_of, load_family_prompts


@pytest.mark.parametrize(
    ("file_name", "family"),
    [
        ("gpt-5-1.md", "gpt-5.1"),
        ("gpt-5-1-codex-max.md", "gpt-5.1-codex-max"),
        ("gpt-5.md", "gpt-5"),
        ("o3-mini.md", "o3-mini"),
    ],
)
def test_a_dash_between_numbers_stands_for_a_dot(file_name: str, family: str) -> None:
    assert family_of(file_name) == family


def test_every_family_has_a_text_of_its_own() -> None:
    prompts = load_family_prompts()
    assert len(prompts) == 6
    assert len(set(prompts.values())) == 6
    assert all(100 < len(text) < 2000 and text == text.strip() for text in prompts.values())
