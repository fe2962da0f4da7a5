"""Every sample configuration of the pages, used as it is printed, is closed to a stranger's web page."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codexproxy.settings import SettingsError, load_settings
from tests.docs.pages import DOCS, ROOT, blocks
from tests.server.routes import application, path_of, rules

PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted(DOCS.rglob("*.md"))]
SECTIONS = {"server", "auth", "providers", "users", "guard", "models", "backend", "limits", "codex", "cli", "oauth"}
SECTIONS |= {"logging", "responses"}
SETTING = re.compile(r"\b(HOST|CORS_ALLOW_ORIGINS|ALLOW_UNAUTHENTICATED|PROXY_API_KEY)=(\S+)")
STRANGER = {"origin": "https://evil.example"}
Sample = dict[str, Any]


def files(page: Path) -> Iterator[Sample]:
    """The config files that a page prints, as blocks and within its lines."""
    texts = [block.text for block in blocks(page) if block.kind == "json"]
    texts += re.findall(r"`(\{.*?\})`", page.read_text(encoding="utf-8"))
    for text in texts:
        try:
            found = json.loads(text)
        except ValueError:
            continue
        if isinstance(found, dict) and found and found.keys() <= SECTIONS:
            yield found


def environments(page: Path) -> Iterator[dict[str, str]]:
    """The settings of commands that a page prints."""
    for block in blocks(page):
        settings = {name: value.strip("'\"") for name, value in SETTING.findall(block.text)}
        if settings and block.kind in ("sh", "console", "bash"):
            yield settings


FILES = [
    *((f"{page.name}-{number}", found) for page in PAGES for number, found in enumerate(files(page))),
    ("deploy-config", json.loads((ROOT / "deploy/config.json").read_text())),
]
ENVIRONMENTS = [(f"{page.name}-{number}", found) for page in PAGES for number, found in enumerate(environments(page))]


def let_in(folder: Path, **environ: str) -> list[tuple[str, str]]:
    """What a stranger's page, in a browser of this machine, is answered with anything but a refusal."""
    client = application(folder, DATA_DIR=str(folder / "data"), **environ).test_client()
    found = []
    for rule in rules():
        for method in sorted({"GET", "POST", "DELETE"} & (rule.methods or set())):
            answer = client.open(path_of(rule.rule), method=method, json={}, headers=STRANGER)
            if answer.status_code not in (401, 403) and rule.rule not in ("/health", "/ready"):
                found.append((method, rule.rule))
    return found


def test_the_pages_hold_samples() -> None:
    assert len(FILES) >= 5
    assert any("corsAllowOrigins" in found.get("server", {}) for _, found in FILES)
    assert any("CORS_ALLOW_ORIGINS" in found for _, found in ENVIRONMENTS)


@pytest.mark.parametrize("sample", [found for _, found in FILES], ids=[name for name, _ in FILES])
def test_a_config_file_as_printed_lets_no_strangers_page_in(sample: Sample, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(sample))
    load_settings({"HOME": str(tmp_path), "CONFIG_PATH": str(config)})
    assert let_in(tmp_path, CONFIG_PATH=str(config)) == []


@pytest.mark.parametrize("sample", [found for _, found in ENVIRONMENTS], ids=[name for name, _ in ENVIRONMENTS])
def test_a_command_as_printed_lets_no_strangers_page_in(sample: dict[str, str], tmp_path: Path) -> None:
    if sample.get("CORS_ALLOW_ORIGINS") == "*":
        # Its page makes a key first.
        (tmp_path / "data").mkdir()
        users = [{"name": "cursor", "apiKeyHash": "sha256:00:" + "0" * 64}]
        (tmp_path / "data" / "keys.json").write_text(json.dumps({"users": users}))
    # A key that is printed is no secret.
    assert not re.fullmatch(r"[\w-]+", sample.get("PROXY_API_KEY", ""))
    assert let_in(tmp_path, **{**sample, "PROXY_API_KEY": "x" * 32} if "PROXY_API_KEY" in sample else sample) == []


def test_a_sample_that_lets_every_page_in_would_be_found(tmp_path: Path) -> None:
    assert ("POST", "/responses") in let_in(tmp_path, CORS_ALLOW_ORIGINS="*")
    with pytest.raises(SettingsError):
        load_settings({"HOME": str(tmp_path), "PROXY_API_KEY": "a placeholder"})
