"""The goals, as data, and what a run says about each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.figures import Metrics, median

Runs = Mapping[str, Mapping[str, Sequence[Metrics]]]
OURS = "ours"
REACHED, MISSED, NOT_MEASURED = "reached", "missed", "not measured"


@dataclass(frozen=True, slots=True)
class Figure:
    """Something that can be read off a run.

    Attributes:
        scenario: Where it was measured.
        metric: What was measured.
        of: Of which target.
        to: Another target it is compared with, round by round; empty for the figure itself.
        difference: Whether compared means minus, not divided by.
        other_scenario: The scenario of the other target, where it is another.
    """

    scenario: str
    metric: str
    of: str = OURS
    to: str = ""
    difference: bool = False
    other_scenario: str = ""

    def read(self, runs: Runs) -> float | None:
        """The median over the rounds; None when it was not measured."""
        own = _values(runs, self.scenario, self.of, self.metric)
        if not self.to:
            return median(own) if own else None
        other = _values(runs, self.other_scenario or self.scenario, self.to, self.metric)
        pairs = list(zip(own, other, strict=False))
        if not pairs or (not self.difference and not all(value for _, value in pairs)):
            return None
        return median([mine - theirs if self.difference else mine / theirs for mine, theirs in pairs])


def _values(runs: Runs, scenario: str, target: str, metric: str) -> list[float]:
    return [run[metric] for run in runs.get(scenario, {}).get(target, ()) if metric in run]


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table of goals.

    Attributes:
        number: Which goal of the list it belongs to.
        text: What it is about.
        figure: Where to read it.
        limit: What it is held against.
        unit: What it is counted in; ``×`` for a ratio.
        at_least: Whether more is better.
    """

    number: int
    text: str
    figure: Figure
    limit: float
    unit: str = "×"
    at_least: bool = False

    def verdict(self, runs: Runs) -> tuple[float | None, str]:
        """The figure and the word for it."""
        value = self.figure.read(runs)
        if value is None:
            return None, NOT_MEASURED
        good = value >= self.limit if self.at_least else value <= self.limit
        return value, REACHED if good else MISSED


def _ratio(scenario: str, to: str, metric: str = "cpu_us") -> Figure:
    return Figure(scenario, metric, to=to)


def _peers(number: int, scenario: str, limits: Mapping[str, float]) -> list[Goal]:
    return [Goal(number, f"{scenario}: CPU against {peer}", _ratio(scenario, peer), limit)
            for peer, limit in limits.items()]  # fmt: skip


GOALS: tuple[Goal, ...] = (
    *_peers(1, "S1", {"chatmock": 1 / 4, "codex-api-proxy": 1 / 7, "codex-lb": 1 / 20, "openai-oauth": 1 / 60,
                      "litellm": 1 / 100, "codex-proapi": 1.0}),
    *_peers(2, "S2L", {"chatmock": 0.7, "codex-api-proxy": 1 / 2, "codex-proapi": 1 / 2, "openai-oauth": 1 / 5,
                       "codex-lb": 1 / 5, "litellm": 1 / 10, "nginx": 4.0}),
    Goal(3, "Responses, S2L: CPU against nginx", _ratio("P2L", "nginx"), 3.2),
    Goal(3, "Responses, S1: CPU per delta", Figure("P1", "cpu_us"), 3.0, "µs"),
    Goal(3, "Responses, S2L: lag p50", Figure("P2L", "lag_p50"), 1.0, "ms"),
    Goal(4, "S2: CPU against nginx", _ratio("S2", "nginx"), 4.2),
    Goal(4, "S2: CPU against chatmock", _ratio("S2", "chatmock"), 0.65),
    Goal(4, "S2: total time p50 above direct", Figure("S2", "total_p50", to="direct", difference=True), 30.0, "ms"),
    Goal(4, "S2: lag p50", Figure("S2", "lag_p50"), 1.0, "ms"),
    Goal(4, "S2: lag p99", Figure("S2", "lag_p99"), 20.0, "ms"),
    Goal(4, "S2: lag p99 of chatmock against ours", Figure("S2", "lag_p99", "chatmock", OURS), 4.0, at_least=True),
    Goal(5, "S2L: first word p50 above direct", Figure("S2L", "first_p50", to="direct", difference=True), 5.0, "ms"),
    Goal(5, "S2L: first word p50 against chatmock, direct taken off", Figure("S2L", "added_first_p50", to="chatmock"),
         0.5),
    Goal(6, "S4: CPU per request", Figure("S4", "cpu_us"), 1_000.0, "µs"),
    Goal(6, "S4: CPU against chatmock", _ratio("S4", "chatmock"), 0.5),
    Goal(6, "S4: requests per second, two workers against one", Figure("S4", "rps", "ours, 2 workers", OURS), 1.4,
         at_least=True),
    Goal(7, "S5: CPU against chatmock", _ratio("S5", "chatmock"), 0.5),
    Goal(7, "S5: CPU against our S4", Figure("S5", "cpu_us", to=OURS, other_scenario="S4"), 1.6),
    Goal(8, "memory, idle", Figure("memory", "idle_mb"), 70.0, "MB"),
    Goal(8, "memory per open stream", Figure("memory", "stream_kb"), 70.0, "kB"),
    Goal(8, "memory, growth over 20,000 deltas", Figure("memory", "grown_mb"), 5.0, "MB"),
    Goal(9, "S3: errors", Figure("S3", "errors"), 0.0, ""),
    Goal(9, "S3: lag p50", Figure("S3", "lag_p50"), 2.0, "ms"),
    Goal(9, "S3: lag p99", Figure("S3", "lag_p99"), 60.0, "ms"),
    Goal(9, "S3: CPU against chatmock", _ratio("S3", "chatmock"), 0.5),
    Goal(9, "S3X: errors", Figure("S3X", "errors"), 0.0, ""),
    Goal(9, "S3X: memory", Figure("S3X", "memory_mb"), 400.0, "MB"),
    Goal(10, "cold start to a healthy answer", Figure("memory", "start_s"), 0.6, "s"),
    Goal(11, "S2L: deltas that come in a read of their own", Figure("S2L", "alone"), 0.95, "", at_least=True),
)  # fmt: skip


def with_added_first(runs: Runs) -> dict[str, dict[str, list[Metrics]]]:
    """The runs with ``added_first_p50``: the time to the first word that direct does not take."""
    added: dict[str, dict[str, list[Metrics]]] = {}
    for scenario, targets in runs.items():
        direct = [run.get("first_p50", 0.0) for run in targets.get("direct", ())]
        added[scenario] = {
            target: [
                {**run, "added_first_p50": run["first_p50"] - direct[number]}
                if "first_p50" in run and number < len(direct)
                else dict(run)
                for number, run in enumerate(rounds)
            ]
            for target, rounds in targets.items()
        }
    return added
