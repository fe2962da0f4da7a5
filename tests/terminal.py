"""The command line inside the test's own process: quick, where a process of its own would prove nothing more."""

from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from codexproxy.cli import main


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended.

    Attributes:
        returncode: Its exit code.
        stdout: What it printed.
        stderr: What it said beside that.
    """

    returncode: int
    stdout: str
    stderr: str


def run(home: Path, *arguments: str, **environ: str) -> Done:
    """Runs ``codexproxy`` with a home folder of its own; a bug in it fails the test."""
    result = CliRunner(env={"HOME": str(home), **environ}).invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)
