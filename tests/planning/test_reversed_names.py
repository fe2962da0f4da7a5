"""Reversed model names, with suffixes on either side."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.planning.model_catalog import ModelCatalog, plain_spellings, reversed_name


@pytest.mark.parametrize(
    ("name", "slug", "effort"),
    [
        ("gpt-5.2-codex", "gpt-5.2-codex", None),
        ("xedoc-2.5-tpg", "gpt-5.2-codex", None),
        ("2.5-tpg", "gpt-5.2", None),
        ("gpt-5.2-codex-high", "gpt-5.2-codex", "high"),
        ("hgih-xedoc-2.5-tpg", "gpt-5.2-codex", "high"),
        ("xedoc-2.5-tpg-high", "gpt-5.2-codex", "high"),
        ("hgihx-2.5-tpg", "gpt-5.2", "xhigh"),
        ("2.5-tpg-none", "gpt-5.2", "none"),
        ("2.5-tpg-high-fast", "gpt-5.2", "high"),
        ("xam-xedoc-1.5-tpg", "gpt-5.1-codex-max", None),
        ("xam-xedoc-1.5-tpg-xhigh", "gpt-5.1-codex-max", "xhigh"),
        ("GPT-5.2-Codex", "gpt-5.2-codex", None),
        (" gpt-5.2-HIGH\n", "gpt-5.2", "high"),
        ("openai/gpt-5.2", "gpt-5.2", None),
        ("OpenAI/GPT-5.1-Codex-Max-xhigh", "gpt-5.1-codex-max", "xhigh"),
    ],
)
def test_a_name_is_understood_backwards_with_its_effort_on_either_side(
    name: str, slug: str, effort: str | None
) -> None:
    wanted = ModelCatalog().find(name)
    assert wanted is not None
    assert (wanted.slug, wanted.effort) == (slug, effort)


def test_a_name_in_capitals_that_the_catalogue_holds_is_that_one() -> None:
    catalogue = ModelCatalog([{"slug": "GPT-9"}, {"slug": "gpt-9"}, {"slug": "openai/gpt-9"}])
    for name in ("GPT-9", "gpt-9", "openai/gpt-9"):
        assert catalogue.find(name).slug == name  # type: ignore[union-attr]


def test_every_listed_model_is_found_by_its_reversed_name() -> None:
    catalogue = ModelCatalog()
    for spec in catalogue.models:
        assert catalogue.find(reversed_name(spec.slug)).slug == spec.slug  # type: ignore[union-attr]


def test_unknown_names_stay_unknown() -> None:
    assert ModelCatalog().find("sdrawkcab") is None
    assert ModelCatalog().find("-high") is None


@given(st.text())
def test_code_points_are_reversed_and_reversing_twice_gives_the_name_back(name: str) -> None:
    assert reversed_name(reversed_name(name)) == name
    assert list(reversed_name(name)) == list(name)[::-1]
    assert plain_spellings(name, ("high",))[0] == name
