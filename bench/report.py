"""A run written down: for the terminal, as JSON, as the page of the documentation."""

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.figures import Metrics, medians
from bench.goals import GOALS, Runs, with_added_first
from bench.scenarios import SCENARIOS

Json = dict[str, Any]
Row = Sequence[str]

_COLUMNS = (
    ("CPU µs", "cpu_us"),
    ("lag p50 ms", "lag_p50"),
    ("lag p99 ms", "lag_p99"),
    ("first p50 ms", "first_p50"),
    ("total p50 ms", "total_p50"),
    ("requests/s", "rps"),
    ("alone", "alone"),
    ("bytes/read", "bytes_per_read"),
    ("memory MB", "memory_mb"),
    ("errors", "errors"),
)
_MEMORY_COLUMNS = (
    ("idle MB", "idle_mb"),
    ("kB per stream", "stream_kb"),
    ("+MB over 20,000 deltas", "grown_mb"),
    ("start s", "start_s"),
)
# Not shown where it means nothing: pace 0 has no lag, one request at a time no rate.
_BY_RATE = {"S4", "S5"}


def machine() -> str:
    """The machine in words."""
    found = re.search(r"MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text())
    memory = f"{int(found[1]) / 1e6:.0f} GB of memory" if found else "unknown memory"
    return f"{os.cpu_count()} cores, {memory}, {platform.system()}, Python {platform.python_version()}"


def written(runs: Runs, repeat: int, quick: bool) -> Json:
    """The run as JSON."""
    return {"machine": machine(), "rounds": repeat, "quick": quick, "runs": runs}


def tables(record: Mapping[str, Any]) -> str:
    """Everything as Markdown, which a terminal shows well enough."""
    runs = with_added_first(record["runs"])
    parts = [_scenario_table(runs), _memory_table(runs), goals_table(runs)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _scenario_table(runs: Runs) -> str:
    rows = []
    for scenario in SCENARIOS:
        for target, rounds in runs.get(scenario.key, {}).items():
            metrics = medians(rounds)
            hidden = {"alone", "bytes_per_read", "first_p50"} if scenario.key in _BY_RATE else {"rps"}
            hidden |= {"alone"} if scenario.pace == 0 else set()
            rows.append([scenario.key, target, *_cells(metrics, _COLUMNS, hidden)])
    return _table(["", "target", *(title for title, _ in _COLUMNS)], rows)


def _memory_table(runs: Runs) -> str:
    rows = [[target, *_cells(medians(rounds), _MEMORY_COLUMNS)] for target, rounds in runs.get("memory", {}).items()]
    return _table(["target", *(title for title, _ in _MEMORY_COLUMNS)], rows)


def _cells(metrics: Metrics, columns: Sequence[tuple[str, str]], hidden: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    return [_number(metrics[name]) if name in metrics and name not in hidden else "" for _, name in columns]


def goals_table(runs: Runs) -> str:
    """Every goal with its figure, its limit and the verdict."""
    rows = []
    for goal in GOALS:
        value, verdict = goal.verdict(runs)
        sign = "≥" if goal.at_least else "≤"
        shown = "" if value is None else f"{_number(value)} {goal.unit}"
        rows.append([str(goal.number), goal.text, shown.strip(), f"{sign} {_number(goal.limit)} {goal.unit}", verdict])
    return _table(["goal", "what", "figure", "limit", ""], rows)


def _number(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _table(head: Row, rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def keep(record: Json, path: Path) -> None:
    """Writes the JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


def page(record: Mapping[str, Any], letter: str) -> str:
    """The page of the documentation: a hand-written letter with the run's tables in its place."""
    return (
        letter.replace("{machine}", record["machine"])
        .replace("{rounds}", str(record["rounds"]))
        .replace("{tables}", tables(record).strip())
    )
