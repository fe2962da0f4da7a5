"""The data folder: for its owner alone whichever part makes it first, and refused where others may write it."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from codexproxy.settings import SettingsError, load_settings
from codexproxy.simulator.client import SimulatorClient
from codexproxy.storage.atomic_file import make_private_folder
from tests.patience import patient
from tests.service import ROOT, Service

# Starts Python with a umask that takes nothing away.
CARELESS = "import os, sys; os.umask(0); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"


def modes(folder: Path) -> dict[str, str]:
    """Every folder below one that others than its owner may do something in."""
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")] if path.is_dir()}
    return {str(path): f"{mode:o}" for path, mode in found.items() if mode & 0o077}


def command(arguments: list[str], folder: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    settings = {"PATH": os.environ["PATH"], "HOME": str(folder), **environ}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, env=settings, capture_output=True, text=True, timeout=patient(60)
    )


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022])
def test_every_level_that_is_made_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_private_folder(tmp_path / "one" / "two" / "three")
        make_private_folder(tmp_path / "one" / "two" / "three")
    finally:
        os.umask(before)
    assert modes(tmp_path / "one") == {}
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        make_private_folder(tmp_path / "file" / "four")


def test_a_service_without_a_umask_makes_no_folder_that_others_may_enter(sim: SimulatorClient, tmp_path: Path) -> None:
    service = Service(tmp_path / "service", sim, CODEX_MAX_PARALLEL_REQUESTS="2")
    service.launcher = (sys.executable, "-c", CARELESS)
    # The slots are the first to need it.
    service.data_dir.rmdir()
    service.data_dir = service.data_dir / "deeper"
    service.environ["DATA_DIR"] = str(service.data_dir)
    try:
        service.start()
        assert service.get("/health").status == 200
    finally:
        service.stop()
    assert service.data_dir.exists()
    assert modes(service.data_dir.parent) == {}


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
@pytest.mark.parametrize("shared", ["data", "data/profiles", "data/profiles/work"])
def test_a_folder_that_others_may_write_is_refused_with_the_way_out(tmp_path: Path, shared: str, mode: int) -> None:
    (tmp_path / "data" / "profiles" / "work").mkdir(parents=True)
    (tmp_path / shared).chmod(mode)
    way_out = f"chmod 700 '{tmp_path / shared}'"
    environ = {"DATA_DIR": str(tmp_path / "data"), "PORT": "0"}
    if shared == "data" or mode == 0o777:
        started = command(["gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"], tmp_path, **environ)
        assert started.returncode not in (0, None)
        assert way_out in started.stderr
    served = command(["codexproxy", "serve"], tmp_path, **environ)
    assert (served.returncode, way_out in served.stderr, "Traceback" in served.stderr) == (2, True, False)


def test_doctor_fails_for_a_folder_that_others_may_write(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)
    told = command(["codexproxy", "doctor"], tmp_path, DATA_DIR=str(tmp_path / "data"))
    assert told.returncode == 1
    line = next(line for line in told.stdout.split("\n") if "token file" in line)
    assert "FAIL" in line
    assert "chmod 700" in told.stdout


STORAGES = [
    "redis://:hunter2@localhost:6379",
    "redis5://:hunter2@localhost",
    "rediss://user:hunter2@example.com/0",
    "memcached://hunter2:11211",
    "mongodb://user:hunter2@localhost",
    "async+memory://hunter2",
    "hunter2",
    "codexproxy+sqlite://hunter2",
    "memory://hunter2",
]


@pytest.mark.parametrize("uri", STORAGES)
def test_a_storage_for_limits_that_cannot_be_used_is_refused_without_showing_it(uri: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings({"HOME": "/nowhere", "LIMITS_STORAGE": uri})
    assert "LIMITS_STORAGE: must be `memory://`" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("uri", ["memory://", "codexproxy+sqlite:///var/lib/limits.db"])
def test_the_storages_that_there_are_can_be_named(uri: str) -> None:
    assert load_settings({"HOME": "/nowhere", "LIMITS_STORAGE": uri}).limits_storage == uri


def test_the_service_does_not_start_with_a_storage_that_it_cannot_use(tmp_path: Path) -> None:
    environ = {"DATA_DIR": str(tmp_path / "data"), "LIMITS_STORAGE": STORAGES[0], "PORT": "0"}
    started = command(["gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"], tmp_path, **environ)
    served = command(["codexproxy", "serve"], tmp_path, **environ)
    assert started.returncode not in (0, None)
    assert served.returncode == 2
    for told in (started, served):
        assert "LIMITS_STORAGE" in told.stderr
        assert "hunter2" not in told.stdout + told.stderr
        assert "Traceback" not in told.stderr
