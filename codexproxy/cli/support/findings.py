"""What ``doctor`` finds: one line each, with what to do about it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

OK, WARN, FAIL, SKIPPED = "ok", "warn", "fail", "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        name: What was checked.
        state: ``ok``, ``warn``, ``fail`` or ``skipped``.
        text: What was found.
        advice: What to do; empty where there is nothing to do.
    """

    name: str
    state: str
    text: str
    advice: str = ""


Check = Callable[[], Finding]


def outcome(name: str, check: Check) -> Finding:
    """A check's finding; a check that breaks is one, too."""
    try:
        return check()
    except Exception as error:  # a doctor that dies of a symptom helps nobody
        return Finding(name, FAIL, f"the check itself failed: {type(error).__name__}: {error}", "Please report this.")


def worst(findings: Iterable[Finding]) -> int:
    """The exit code: 1 when anything failed."""
    return int(any(finding.state == FAIL for finding in findings))
