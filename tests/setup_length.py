"""How many lines a reader passes before a file's first test: ``python -m tests.setup_length``, longest first.

Counted are all lines from the file's start to its first test function with its decorators: imports, blank lines
and docstrings too.
"""

import ast
from pathlib import Path
from statistics import median

TESTS = Path(__file__).resolve().parent


def setup_lengths() -> dict[str, int]:
    """Path below ``tests`` -> lines before the first test, for every file that has one; shortest first."""
    found = {path.relative_to(TESTS).as_posix(): _lines_before(path) for path in TESTS.rglob("test_*.py")}
    return dict(sorted(((name, lines) for name, lines in found.items() if lines is not None), key=lambda row: row[1]))


def middle_and_high(lengths: dict[str, int]) -> tuple[float, int]:
    """Their median, and the 95th percentile."""
    counts = sorted(lengths.values())
    return median(counts), counts[int(len(counts) * 0.95)]


def _lines_before(path: Path) -> int | None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
    return None


if __name__ == "__main__":
    rows = setup_lengths()
    for name, lines in reversed(rows.items()):
        print(f"{lines:4} {name}")
    print("median {:g}, 95th percentile {}".format(*middle_and_high(rows)))
