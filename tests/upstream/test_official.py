"""Official instructions from the catalogue, an installed CLI and the public repository."""

import json
import socket
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from codexproxy.errors import UpstreamFailed
from codexproxy.upstream.chatgpt.instruction_sources import texts_of, texts_of_cli, texts_of_repository, texts_of_rows
from tests.fakes.serving import serving

BASE = "You are Codex.\r\n"
TEMPLATE = "You are Codex. {{ personality }} Bye."
VARIABLES = {"personality_default": "", "personality_friendly": "Be warm.", "personality_pragmatic": None}
ROW = {
    "slug": "gpt-6",
    "base_instructions": BASE,
    "model_messages": {"instructions_template": TEMPLATE, "instructions_variables": VARIABLES},
}


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        (ROW, [BASE, "You are Codex.  Bye.", "You are Codex. Be warm. Bye."]),
        ({"base_instructions": BASE}, [BASE]),
        ({"base_instructions": BASE, "model_messages": None}, [BASE]),
        ({"base_instructions": BASE, "model_messages": {"instructions_template": None}}, [BASE]),
        ({"base_instructions": BASE, "model_messages": {"instructions_template": BASE}}, [BASE]),
        ({"base_instructions": ""}, []),
        ({"base_instructions": "\ud800"}, []),
        ({"base_instructions": 3, "model_messages": "x"}, []),
        ({}, []),
    ],
)
def test_a_models_texts_are_its_base_and_one_per_personality(row: Mapping[str, Any], texts: list[str]) -> None:
    assert texts_of(row) == texts


def test_models_without_a_text_are_left_out() -> None:
    rows: list[Any] = [{"slug": "a", "base_instructions": BASE}, {"slug": "b"}, "garbage"]
    assert texts_of_rows(rows) == {"a": [BASE]}


def cli(tmp_path: Path, script: str) -> list[str]:
    path = tmp_path / "codex.py"
    path.write_text(f"import sys, json\nassert sys.argv[1:] == ['debug', 'models']\n{script}")
    return [sys.executable, str(path)]


def test_an_installed_cli_is_asked(tmp_path: Path) -> None:
    command = cli(
        tmp_path, f"print(json.dumps({json.dumps({'models': [{'slug': 'gpt-6', 'base_instructions': BASE}]})}))"
    )
    assert texts_of_cli(command) == {"gpt-6": [BASE]}


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("sys.exit(3)", "exit code 3"),
        ("print('hello')", "not JSON"),
        ("print('{}')", "no list"),
        ("print('[]')", "no list"),
    ],
)
def test_a_cli_that_says_something_else_is_told(tmp_path: Path, script: str, says: str) -> None:
    with pytest.raises(UpstreamFailed, match=says):
        texts_of_cli(cli(tmp_path, script))


def test_a_cli_that_is_not_installed_is_told() -> None:
    with pytest.raises(UpstreamFailed, match="cannot be run"):
        texts_of_cli(["no-such-codex-anywhere"])


class Shelf(ThreadingHTTPServer):
    """Serves files of a repository from a dict; bytes are sent, a number is a status."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files: dict[str, bytes | int] = {}
        self.base = f"http://127.0.0.1:{self.server_address[1]}/openai/codex"


class Answer(BaseHTTPRequestHandler):
    server: Shelf

    def do_GET(self) -> None:
        found = self.server.files.get(self.path.removeprefix("/openai/codex/"), 404)
        self.send_response(found if isinstance(found, int) else 200)
        body = b"" if isinstance(found, int) else found
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        return


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with serving(Shelf()) as server:
        yield server


def catalogue(**texts: str) -> bytes:
    rows = [{"slug": slug.replace("_", "-"), "base_instructions": text} for slug, text in texts.items()]
    return json.dumps({"models": rows}).encode()


def test_the_repositorys_catalogue_and_older_single_texts_are_found(shelf: Shelf) -> None:
    shelf.files = {
        "rust-v1/codex-rs/models-manager/models.json": catalogue(gpt_6="six"),
        "rust-v1/codex-rs/core/gpt_5_2_prompt.md": BASE.encode(),
    }
    with requests.Session() as session:
        assert texts_of_repository(session, "rust-v1", shelf.base) == {"gpt-6": ["six"], "gpt-5.2": [BASE]}


def test_a_newer_catalogue_beats_the_single_text_beside_it(shelf: Shelf) -> None:
    rows = [{"slug": "gpt-5.2", "base_instructions": "newer"}]
    shelf.files = {
        "main/codex-rs/core/models.json": json.dumps({"models": rows}).encode(),
        "main/codex-rs/core/gpt_5_2_prompt.md": b"older",
    }
    with requests.Session() as session:
        assert texts_of_repository(session, base=shelf.base) == {"gpt-5.2": ["newer"]}


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "name another tag"),
        ({"main/codex-rs/core/gpt_5_2_prompt.md": 500}, "answered 500"),
        ({"main/codex-rs/core/gpt_5_2_prompt.md": b"\xff"}, "not UTF-8"),
        ({"main/codex-rs/models-manager/models.json": b"<html>"}, "not JSON"),
    ],
)
def test_a_repository_that_holds_nothing_usable_is_told(shelf: Shelf, files: dict[str, bytes | int], says: str) -> None:
    shelf.files = files
    with requests.Session() as session, pytest.raises(UpstreamFailed, match=says):
        texts_of_repository(session, base=shelf.base)


def test_a_repository_that_cannot_be_reached_is_told() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        with requests.Session() as session, pytest.raises(UpstreamFailed, match="cannot be reached"):
            texts_of_repository(session, base=base)


@pytest.mark.parametrize("path", ["protocol/src/prompts/base_instructions/default.md", "core/prompt.md"])
def test_the_text_for_unknown_models_is_taken_from_wherever_it_is(shelf: Shelf, path: str) -> None:
    shelf.files = {f"main/codex-rs/{path}": BASE.encode()}
    with requests.Session() as session:
        assert texts_of_repository(session, base=shelf.base) == {"unknown-model": [BASE]}
