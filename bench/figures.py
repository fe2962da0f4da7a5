"""Figures from raw measurements. Pure."""

import math
from collections.abc import Iterable, Sequence
from statistics import median

__all__ = ["median", "medians", "percentile", "spread"]

Metrics = dict[str, float]


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which so many percent lie, by nearest rank.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("no values")
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(0, rank - 1)]


def medians(runs: Iterable[Metrics]) -> Metrics:
    """The median of each metric over several runs."""
    columns: dict[str, list[float]] = {}
    for run in runs:
        for name, value in run.items():
            columns.setdefault(name, []).append(value)
    return {name: median(values) for name, values in columns.items()}


def spread(values: Sequence[float]) -> float:
    """Half of the range over the median: how much to trust a median."""
    middle = median(values)
    return (max(values) - min(values)) / 2 / middle if middle else 0.0
