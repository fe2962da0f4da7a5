"""What is wrong with the settings, all of it at once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One setting that cannot be used.

    Attributes:
        key: Where it was set: an environment variable, or a path in the config file.
        message: What is wrong and what to do; never holds a secret's value.
    """

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


class SettingsError(Exception):
    """The settings hold at least one mistake; nothing was started.

    Args:
        problems: Every mistake found.
    """

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        count = len(self.problems)
        title = "One setting needs your attention:" if count == 1 else f"{count} settings need your attention:"
        return "\n".join([title, *(f"  {problem}" for problem in self.problems)])
