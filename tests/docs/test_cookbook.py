"""docs/cookbook.md and README.md: their blocks are run against the service, as they stand there."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.clients.installing import CannotBeInstalled, install, node
from tests.clients.player import run
from tests.docs.pages import ADDRESS, DOCS, ROOT, Block, blocks
from tests.service import Service

COOKBOOK = blocks(DOCS / "cookbook.md")
README = blocks(ROOT / "README.md")
CLIENTS = (
    "curl",
    "OpenAI SDK for Python",
    "OpenAI SDK for Node",
    "Cursor",
    "Cline",
    "Continue",
    "Open WebUI",
    "Zed",
    "VS Code",
    "n8n",
    "LangChain",
    "aider",
    "llm",
    "Codex CLI",
)
# Sections whose client lives in an environment of its own.
ENVIRONMENTS = {"LangChain": "langchain", "aider": "aider", "llm": "llm"}
PARSERS: dict[str, Callable[[str], object]] = {"json": json.loads, "yaml": yaml.safe_load, "toml": tomllib.loads}
READ_ONLY = {"text", "console"}


def of_kind(found: list[Block], *kinds: str) -> list[Block]:
    return [block for block in found if block.kind in kinds]


def environment_of(block: Block) -> Path | None:
    """The folder of the section's client; None where the tests' own environment has it."""
    name = ENVIRONMENTS.get(block.section)
    if name is None:
        return None
    if name == "aider" and sys.version_info >= (3, 13):
        pytest.skip("a client cannot be installed: aider has no release for this Python")
    return installed(name)


def installed(name: str) -> Path:
    try:
        return install(name)
    except CannotBeInstalled as problem:
        pytest.skip(f"a client cannot be installed: {problem}")


def at(service: Service, block: Block) -> str:
    """The block for the service of the tests; one that names no address would prove nothing."""
    assert ADDRESS in block.text
    return block.text.replace(ADDRESS, service.base_url)


def judge(done: "subprocess.CompletedProcess[str]") -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip(), "it printed nothing"
    assert '"error": {' not in done.stdout and '"error":{' not in done.stdout, done.stdout


@pytest.mark.parametrize("block", of_kind(COOKBOOK, "sh"), ids=str)
def test_a_shell_block_runs(block: Block, service: Service, tmp_path: Path) -> None:
    folder = environment_of(block)
    path = f'PATH="{folder / "bin"}:$PATH"\n' if folder else ""
    judge(run(["bash", "-euo", "pipefail", "-c", path + at(service, block)], tmp_path))


@pytest.mark.parametrize("block", of_kind(COOKBOOK, "python"), ids=str)
def test_a_python_block_runs(block: Block, service: Service, tmp_path: Path) -> None:
    folder = environment_of(block)
    python = str(folder / "bin/python") if folder else sys.executable
    judge(run([python, "-c", at(service, block)], tmp_path))


@pytest.mark.parametrize("block", of_kind(COOKBOOK, "js"), ids=str)
def test_a_javascript_block_runs(block: Block, service: Service, tmp_path: Path) -> None:
    folder = installed("node")
    (tmp_path / "node_modules").symlink_to(folder / "node_modules")
    script = tmp_path / "block.mjs"
    script.write_text(at(service, block))
    judge(run([node(folder), str(script)], tmp_path))


@pytest.mark.parametrize("block", of_kind(COOKBOOK, *PARSERS), ids=str)
def test_a_file_of_settings_can_be_read(block: Block) -> None:
    assert PARSERS[block.kind](block.text)


def test_no_block_is_left_out() -> None:
    assert {block.kind for block in COOKBOOK} <= {"sh", "python", "js", *PARSERS, *READ_ONLY}


def test_every_client_has_its_section() -> None:
    page = (DOCS / "cookbook.md").read_text(encoding="utf-8")
    assert [name for name in CLIENTS if f"\n## {name}\n" not in page] == []


def test_the_readmes_python_runs(service: Service, tmp_path: Path) -> None:
    (block,) = of_kind(README, "python")
    judge(run([sys.executable, "-c", at(service, block)], tmp_path))


def test_the_readmes_curl_streams(service: Service, tmp_path: Path) -> None:
    (block,) = (block for block in of_kind(README, "sh") if block.text.startswith("curl"))
    done = run(["bash", "-euo", "pipefail", "-c", at(service, block)], tmp_path)
    judge(done)
    assert done.stdout.strip().endswith("data: [DONE]")
