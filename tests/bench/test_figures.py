"""Figures, goals and reports from runs that are written down here."""

import pytest

from bench.figures import medians, percentile, spread
from bench.goals import GOALS, MISSED, NOT_MEASURED, REACHED, Figure, Goal, with_added_first
from bench.report import goals_table, page, tables


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 50) == 50
    assert percentile(values, 99) == 99
    assert percentile(values, 100) == 100
    assert percentile([7.0], 99) == 7
    assert percentile([3.0, 1.0, 2.0], 50) == 2


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_medians_are_taken_per_metric_also_where_a_run_lacks_one() -> None:
    assert medians([{"a": 1, "b": 9}, {"a": 3}, {"a": 2}]) == {"a": 2, "b": 9}


def test_a_spread_of_zero_is_perfect_agreement() -> None:
    assert spread([5.0, 5.0]) == 0
    assert spread([4.0, 5.0, 6.0]) == pytest.approx(0.2)


RUNS = {
    "S1": {
        "ours": [{"cpu_us": 2.0}, {"cpu_us": 4.0}, {"cpu_us": 3.0}],
        "chatmock": [{"cpu_us": 10.0}, {"cpu_us": 10.0}, {"cpu_us": 30.0}],
    }
}


def test_a_ratio_is_the_median_of_the_rounds_ratios_not_the_ratio_of_medians() -> None:
    assert Figure("S1", "cpu_us", to="chatmock").read(RUNS) == pytest.approx(0.2)


def test_a_difference_is_taken_round_by_round() -> None:
    assert Figure("S1", "cpu_us", to="chatmock", difference=True).read(RUNS) == -8


def test_a_figure_of_ours_alone_is_a_median() -> None:
    assert Figure("S1", "cpu_us").read(RUNS) == 3


@pytest.mark.parametrize(
    ("limit", "at_least", "verdict"),
    [(0.2, False, REACHED), (0.19, False, MISSED), (0.2, True, REACHED), (0.3, True, MISSED)],
)
def test_a_goal_is_reached_at_its_limit(limit: float, at_least: bool, verdict: str) -> None:
    goal = Goal(1, "", Figure("S1", "cpu_us", to="chatmock"), limit, at_least=at_least)
    assert goal.verdict(RUNS)[1] == verdict


@pytest.mark.parametrize(
    "figure",
    [
        Figure("S1", "cpu_us", to="litellm"),
        Figure("S2", "cpu_us"),
        Figure("S1", "lag_p50"),
        Figure("S1", "lag_p50", to="chatmock"),
    ],
)
def test_what_was_not_run_is_not_measured_and_never_reached(figure: Figure) -> None:
    assert Goal(1, "", figure, 10**9).verdict(RUNS) == (None, NOT_MEASURED)


def test_nothing_measured_leaves_every_goal_open() -> None:
    assert {goal.verdict({})[1] for goal in GOALS} == {NOT_MEASURED}
    assert goals_table({}).count(NOT_MEASURED) == len(GOALS)


def test_every_goal_of_the_list_is_in_the_table() -> None:
    assert {goal.number for goal in GOALS} == set(range(1, 12))


def test_the_added_time_to_the_first_word_is_without_what_direct_takes() -> None:
    runs = {"S2L": {"direct": [{"first_p50": 1.0}], "ours": [{"first_p50": 4.0}]}}
    assert with_added_first(runs)["S2L"]["ours"] == [{"first_p50": 4.0, "added_first_p50": 3.0}]


def test_the_page_holds_the_letter_and_the_tables() -> None:
    record = {"machine": "2 cores", "rounds": 3, "runs": RUNS}
    written = page(record, "On {machine}, {rounds} rounds:\n\n{tables}\n")
    assert written.startswith("On 2 cores, 3 rounds:\n\n|")
    assert tables(record).strip() in written
    assert "not measured" in written
