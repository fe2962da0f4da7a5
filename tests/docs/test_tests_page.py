"""tests/README.md tells of every folder, and its commands work."""

import os
import re
import subprocess
import sys

from tests.docs.pages import ROOT
from tests.patience import patient

PAGE = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")


def test_every_folder_has_its_row_and_no_other() -> None:
    rows = re.findall(r"^\| (`.+?`) \|", PAGE, re.MULTILINE)
    told = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    there = [path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and not path.name.startswith("__")]
    assert sorted(told) == sorted(there)


def test_one_file_runs_by_the_command_that_is_told() -> None:
    (command,) = re.findall(r"^make (test TESTS=\S+)", PAGE, re.MULTILINE)
    # This environment, as it is: a target that is older than setup.cfg would be installed again.
    venv = os.path.relpath(sys.prefix, ROOT)
    argv = ["make", f"VENV={venv}", "-o", f"{venv}/.ready-test", *command.split()]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "MAKE"))}
    done = subprocess.run(argv, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=patient(60))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b\d+ passed in ", done.stdout), done.stdout
