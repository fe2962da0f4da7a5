"""Commands are shown as they can be typed where the person stands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from codexproxy.cli.support.command import NAME, as_typed, program
from tests.patience import patient
from tests.service import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with an environment of its own, under a path with a space."""
    folder = tmp_path / "my checkout"
    script = folder / ".venv" / "bin" / NAME
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    return folder


def test_in_a_checkout_the_way_leads_into_its_environment(checkout: Path) -> None:
    assert program(str(checkout / ".venv"), path="/nowhere", folder=checkout) == ".venv/bin/codexproxy"


def test_elsewhere_the_whole_path_is_shown_fit_for_a_shell(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    shown = program(str(checkout / ".venv"), path="/nowhere", folder=tmp_path / "else")
    assert shown == f"{checkout}/.venv/bin/codexproxy".replace(" ", "\\ ")


def test_what_is_on_the_path_needs_its_name_only(checkout: Path, tmp_path: Path) -> None:
    assert program(str(checkout / ".venv"), path=str(checkout / ".venv/bin"), folder=checkout) == NAME
    link = tmp_path / "bin" / NAME
    link.parent.mkdir()
    link.symlink_to(checkout / ".venv/bin/codexproxy")
    assert program(str(checkout / ".venv"), path=str(link.parent), folder=checkout) == NAME


def test_another_installation_on_the_path_is_not_meant(checkout: Path, tmp_path: Path) -> None:
    other = tmp_path / "bin" / NAME
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert program(str(checkout / ".venv"), path=str(other.parent), folder=checkout) == ".venv/bin/codexproxy"


def test_without_a_script_it_is_a_module_of_python(tmp_path: Path) -> None:
    assert program(str(tmp_path), path="/nowhere").endswith(" -m codexproxy")


def test_only_commands_are_spelled_anew() -> None:
    text = "codexproxy is `codexproxy`; run `codexproxy login --device`."
    expected = text.replace("`codexproxy login", f"`{program()} login")
    assert as_typed(text) == expected


def test_a_command_that_is_shown_works(tmp_path: Path) -> None:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", NAME, "status"],
        cwd=tmp_path,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    assert done.returncode == 1
    spelled = done.stdout.split("`")[1].removesuffix(" login")
    run = subprocess.run(f"{spelled} --version", shell=True, env=environ, capture_output=True, text=True, check=False)
    assert run.stdout.startswith("codexproxy, version"), (spelled, run.stderr)
