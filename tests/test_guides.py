"""The guides about the guard and the instructions: their examples are valid, their commands run, their links lead somewhere."""

import json
import re
import shlex
from pathlib import Path

import pytest

from codexproxy.settings import load_settings
from tests.terminal import run

ROOT = Path(__file__).resolve().parents[1]
GUIDES = [ROOT / "docs" / f"{name}.md" for name in ("guard", "prompts", "cursor")]


def blocks(guide: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", guide.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_every_example_of_a_config_file_is_one(guide: Path, tmp_path: Path) -> None:
    for number, block in enumerate(blocks(guide, "json")):
        config = tmp_path / f"{number}.json"
        config.write_text(block)
        load_settings({"HOME": str(tmp_path), "CONFIG_PATH": str(config)})


@pytest.mark.parametrize("guide", GUIDES[:2], ids=lambda guide: guide.stem)
def test_every_command_runs_in_the_order_of_the_page(guide: Path, tmp_path: Path) -> None:
    (tmp_path / "my-texts").mkdir()
    (tmp_path / "my-texts" / "gpt-5.2.md").write_text("You are new.")
    lines = [line for block in blocks(guide, "sh") for line in block.splitlines()]
    assert len(lines) > 3
    for line in lines:
        program, *arguments = shlex.split(line.replace("my-texts", str(tmp_path / "my-texts")))
        assert program == "codexproxy"
        done = run(tmp_path, *arguments)
        # `diff` says by its exit code that there is something to synchronise.
        assert done.returncode == (1 if "diff" in arguments else 0), (line, done.stderr)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_every_link_leads_to_a_page(guide: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", guide.read_text())
    assert all((guide.parent / link).exists() for link in links)


def test_the_example_of_all_fields_names_them_all() -> None:
    from codexproxy.access.key_file import _FIELDS

    (users,) = [json.loads(block)["users"] for block in blocks(GUIDES[0], "json") if "users" in json.loads(block)]
    # An id is made with the key, never written by hand.
    assert set(users[0]) == set(_FIELDS) - {"id"}
