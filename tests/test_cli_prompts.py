"""Official instructions are fetched, listed, compared and checked by command."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from codexproxy.simulator.client import SimulatorClient
from tests.patience import patient
from tests.terminal import Done, run

OLD, NEW = "You are old.\r\n", "You are new.\r\nBe kind.\r\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def prompts(home: Path, *arguments: str, **environ: str) -> Done:
    return run(home, "prompts", *arguments, DATA_DIR=str(home / "data"), **environ)


def folder_of(home: Path, text: str) -> str:
    folder = home / "texts"
    folder.mkdir(exist_ok=True)
    (folder / "gpt-5.2.md").write_bytes(text.encode())
    return str(folder)


def test_a_folder_is_synchronised_listed_and_verified(home: Path) -> None:
    assert "none yet" in prompts(home, "list").stderr
    done = prompts(home, "sync", "--from-folder", folder_of(home, OLD))
    assert (done.returncode, done.stdout) == (0, "gpt-5.2\n")
    (entry,) = json.loads(prompts(home, "list", "--json").stdout)["prompts"]
    assert (entry["model"], entry["source"], entry["length"]) == ("gpt-5.2", "folder", len(OLD))
    assert (home / "data" / "prompts" / entry["file"]).read_bytes() == OLD.encode()
    assert entry["sha256"][:16] in prompts(home, "list").stdout
    assert prompts(home, "verify").returncode == 0


def test_a_damaged_text_is_found(home: Path) -> None:
    prompts(home, "sync", "--from-folder", folder_of(home, OLD))
    (home / "data" / "prompts" / "gpt-5.2.md").write_text("changed")
    done = prompts(home, "verify", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"texts": 1, "damaged": ["gpt-5.2.md"]}


def test_a_difference_is_shown_before_it_is_taken(home: Path) -> None:
    prompts(home, "sync", "--from-folder", folder_of(home, OLD))
    folder = folder_of(home, NEW)
    shown = prompts(home, "diff", "--from-folder", folder)
    assert shown.returncode == 1
    assert "-You are old." in shown.stdout and "+Be kind." in shown.stdout
    assert (home / "data" / "prompts" / "gpt-5.2.md").read_bytes() == OLD.encode()
    prompts(home, "sync", "--from-folder", folder)
    assert prompts(home, "diff", "--from-folder", folder).returncode == 0


def test_the_account_is_asked_unless_a_source_is_named(home: Path, sim: SimulatorClient) -> None:
    sim.settings(models=[{"slug": "gpt-5.2", "base_instructions": NEW}, {"slug": "gpt-5.1"}])
    environ = {"CODEX_BACKEND_URL": sim.backend_url, "CODEX_AUTH_ISSUER": sim.issuer_url}
    refused = prompts(home, "sync", **environ)
    assert refused.returncode == 1
    assert "codexproxy login" in refused.stderr
    (home / "data").mkdir(mode=0o700, exist_ok=True)
    (home / "data" / "tokens.json").write_text(json.dumps(sim.login()))
    done = prompts(home, "sync", "--json", **environ)
    assert json.loads(done.stdout) == {"source": "catalogue", "models": ["gpt-5.2"], "changed": ["gpt-5.2"]}
    assert (home / "data" / "prompts" / "gpt-5.2.md").read_bytes() == NEW.encode()


def test_an_installed_cli_is_a_source(home: Path) -> None:
    program = home / "codex"
    answer = json.dumps({"models": [{"slug": "gpt-5.5", "base_instructions": OLD}]})
    program.write_text(f"#!/bin/sh\n[ \"$*\" = 'debug models' ] && printf %s {shlex.quote(answer)}\n")
    program.chmod(0o755)
    done = prompts(home, "sync", "--from-cli", CODEX_BIN=str(program))
    assert (done.returncode, done.stdout) == (0, "gpt-5.5\n")
    missing = prompts(home, "sync", "--from-cli", CODEX_BIN=str(home / "nothing"))
    assert missing.returncode == 1
    assert "cannot be run" in missing.stderr


def test_one_source_at_a_time(home: Path) -> None:
    assert prompts(home, "sync", "--from-cli", "--from-github").returncode == 2
    empty = home / "empty"
    empty.mkdir()
    done = prompts(home, "sync", "--from-folder", str(empty))
    assert (done.returncode, done.stderr) == (1, "The folder holds no instruction texts.\n")


def test_two_synchronisations_at_once_leave_whole_texts(home: Path) -> None:
    folder = folder_of(home, OLD)
    command = [sys.executable, "-m", "codexproxy", "prompts", "sync", "--from-folder", folder]
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "DATA_DIR": str(home / "data")}
    children = [subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in "12"]
    for child in children:
        child.communicate(timeout=patient(60))
        assert child.returncode == 0
    assert prompts(home, "verify").returncode == 0
