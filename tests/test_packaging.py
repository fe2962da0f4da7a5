"""A wheel is complete: code, instruction texts and pages, and it works away from the checkout."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import codexproxy
from tests.patience import patient

ROOT = Path(__file__).resolve().parent.parent

FAMILIES = {"gpt-5.1", "gpt-5.2", "gpt-5.1-codex", "gpt-5.1-codex-max", "gpt-5.1-codex-mini", "gpt-5.2-codex"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a build needs, in a folder of its own, since building leaves files behind."""
    folder = tmp_path_factory.mktemp("source tree")
    for name in ("setup.py", "setup.cfg", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("codexproxy", "prompts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    # Without build isolation nothing is fetched; setuptools and wheel belong to what the tests install.
    argv = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "wheels", "."]
    done = subprocess.run(argv, cwd=source, capture_output=True, text=True, timeout=patient(120), check=False)
    assert done.returncode == 0, done.stderr
    (path,) = (source / "wheels").iterdir()
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def tracked() -> set[str]:
    """The files under version control."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    argv = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=patient(60), check=True).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}


def test_an_sdist_is_a_checkout(tmp_path: Path) -> None:
    files = tracked()
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    program = "from setuptools import build_meta; build_meta.build_sdist('dist')"
    argv = [sys.executable, "-c", program]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=patient(120), check=False)
    assert done.returncode == 0, done.stderr
    (archive,) = (tmp_path / "dist").iterdir()
    with tarfile.open(archive) as packed:
        names = {member.name.partition("/")[2] for member in packed if member.isfile()}
    made = {name for name in names if name.startswith("codexproxy.egg-info/")} | {"PKG-INFO"}
    # What is for the repository's host is not for those who have no repository.
    assert files - names == {".gitignore", ".ci/run"}
    assert names - files == made


def test_the_version_is_written_down_once_and_the_changelog_tells_what_is_in_it() -> None:
    version = re.escape(codexproxy.__version__)
    written = [
        name
        for name in tracked()
        if name.endswith((".py", ".cfg", ".toml", ".yml", ".in", "Dockerfile", "Makefile"))
        and re.search(rf"(?<![\d.]){version}(?![\d.])", (ROOT / name).read_text(encoding="utf-8"))
    ]
    assert written == ["codexproxy/__init__.py"]
    assert re.search(rf"^## .*\b{version}$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_everything_in_the_package_is_in_the_wheel(source: Path, names: set[str]) -> None:
    files = {path.relative_to(source).as_posix() for path in (source / "codexproxy").rglob("*") if path.is_file()}
    assert files - names == set()


def test_the_instruction_texts_are_in_the_wheel_and_tests_are_not(names: set[str]) -> None:
    assert {f"codexproxy/prompts/{path.name}" for path in (ROOT / "prompts").glob("*.md")} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"codexproxy"}


def test_an_unpacked_wheel_finds_its_texts_and_offers_its_command(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = """
import codexproxy, codexproxy.cli, codexproxy.bundled_instructions as instructions
print(codexproxy.__file__)
print(*sorted(instructions.load_family_prompts()))
"""
    argv = [sys.executable, "-c", program]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        argv, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=patient(60), check=False
    )
    assert done.returncode == 0, done.stderr
    place, families = done.stdout.splitlines()
    assert Path(place).is_relative_to(tmp_path)
    assert set(families.split()) == FAMILIES
    (entry_points,) = tmp_path.glob("*.dist-info/entry_points.txt")
    assert "codexproxy = codexproxy.cli:main" in entry_points.read_text()


def pins(name: str) -> dict[str, str]:
    """Package -> version, of a lock file."""
    lines = (ROOT / name).read_text().splitlines()
    found = [line.split(";")[0].removesuffix("\\").strip().split("==") for line in lines if "==" in line.split(";")[0]]
    return {normal(package): version for package, version in found}


def normal(package: str) -> str:
    """A package's name as PEP 503 spells it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def test_what_the_service_runs_with_is_pinned_by_hash_and_as_tested() -> None:
    text = (ROOT / "requirements.txt").read_text()
    entries = re.findall(r"^[A-Za-z].*?(?=^[A-Za-z]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(entries) == len(pins("requirements.txt")) > 25
    assert all("--hash=sha256:" in entry for entry in entries)
    tested = pins("constraints.txt")
    everywhere = {name: version for name, version in pins("requirements.txt").items() if name in tested}
    assert everywhere == {name: tested[name] for name in everywhere}
    # The rest is for other systems than the one that the lock was made on.
    assert pins("requirements.txt").keys() - tested.keys() <= {"tzdata", "colorama"}


def test_the_lock_pins_everything_the_package_asks_for() -> None:
    pinned = pins("constraints.txt").keys()
    wanted: set[str] = set()
    for line in (ROOT / "setup.cfg").read_text().splitlines():
        if line.startswith("    ") and (">=" in line or line.strip() == "types-requests"):
            wanted.add(normal(line.strip().split(">=")[0].split("[")[0]))
    assert len(wanted) > 15
    assert wanted - pinned == set()
