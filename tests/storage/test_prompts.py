"""Synchronised texts: byte for byte, verified, shared by processes, and safe against anything in the folder."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codexproxy.storage.files.prompts import EARLIER, PromptStore, texts_in_folder

OLD, NEW = "You are old.\r\n\r\nBe kind.\r\n", "You are new.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "prompts"


def test_without_a_synchronisation_there_is_nothing(folder: Path) -> None:
    store = PromptStore(folder)
    assert (store.load(), store.entries(), store.verify(), store.stamp()) == ({}, [], [], None)
    assert not folder.exists()


def test_texts_come_back_byte_for_byte_with_source_date_and_digest(folder: Path) -> None:
    store = PromptStore(folder)
    assert store.save({"gpt-5.2": [OLD, NEW], "a/b c": [NEW]}, "catalogue", 1234.5) == ["gpt-5.2", "a/b c"]
    assert PromptStore(folder).load() == {"gpt-5.2": [OLD, NEW], "a/b c": [NEW]}
    entry = next(entry for entry in store.entries() if entry.model == "gpt-5.2")
    assert (entry.source, entry.fetched_at, entry.length) == ("catalogue", 1234.5, len(OLD))
    assert entry.sha256 == hashlib.sha256((folder / entry.file).read_bytes()).hexdigest()
    assert (folder / entry.file).read_bytes() == OLD.encode()
    assert all(path.parent == folder for path in folder.rglob("*.md"))


def test_saving_the_same_again_writes_nothing(folder: Path) -> None:
    store = PromptStore(folder)
    store.save({"gpt-5.2": [OLD]}, "catalogue", 1)
    stamp = store.stamp()
    assert store.save({"gpt-5.2": [OLD]}, "github", 2) == []
    assert store.stamp() == stamp
    assert store.entries()[0].source == "catalogue"


def test_a_change_is_seen_by_other_processes_and_other_models_keep_their_texts(folder: Path) -> None:
    store, other = PromptStore(folder), PromptStore(folder)
    store.save({"gpt-5.2": [OLD], "gpt-5.1": [OLD]}, "catalogue", 1)
    stamp = other.stamp()
    assert store.save({"gpt-5.2": [NEW]}, "catalogue", 2) == ["gpt-5.2"]
    assert other.stamp() != stamp
    assert other.load() == {"gpt-5.2": [NEW, OLD], "gpt-5.1": [OLD]}


def test_earlier_texts_stay_behind_the_new_ones_with_their_own_source(folder: Path) -> None:
    store = PromptStore(folder)
    store.save({"m": ["one", "two"]}, "catalogue", 1)
    assert store.save({"m": ["three"]}, "codex cli", 2) == ["m"]
    assert store.load() == {"m": ["three", "one", "two"]}
    assert [(entry.source, entry.fetched_at) for entry in store.entries()] == [
        ("codex cli", 2),
        ("catalogue", 1),
        ("catalogue", 1),
    ]
    assert store.save({"m": ["three"]}, "catalogue", 3) == []
    assert store.save({"m": ["two"]}, "catalogue", 4) == ["m"]
    assert store.load() == {"m": ["two", "three", "one"]}


def test_only_so_many_earlier_texts_are_kept(folder: Path) -> None:
    store = PromptStore(folder)
    for number in range(EARLIER + 3):
        store.save({"m": [f"text {number}"]}, "catalogue", number)
    assert len(store.load()["m"]) == EARLIER + 1
    assert store.verify() == []


def test_an_empty_list_of_texts_does_not_erase_what_is_known(folder: Path) -> None:
    store = PromptStore(folder)
    store.save({"gpt-5.2": [OLD]}, "catalogue", 1)
    assert store.save({"gpt-5.2": []}, "catalogue", 2) == []
    assert store.load() == {"gpt-5.2": [OLD]}


@pytest.mark.parametrize("damage", [b"", b"changed", b"\xff\xfe", None])
def test_a_damaged_text_is_not_used_and_is_told(folder: Path, damage: bytes | None) -> None:
    store = PromptStore(folder)
    store.save({"gpt-5.2": [OLD], "gpt-5.1": [NEW]}, "catalogue", 1)
    if damage is None:
        (folder / "gpt-5.2.md").unlink()
    else:
        (folder / "gpt-5.2.md").write_bytes(damage)
    assert store.load() == {"gpt-5.1": [NEW]}
    assert store.verify() == ["gpt-5.2.md"]
    assert store.save({"gpt-5.2": [OLD]}, "catalogue", 2) == ["gpt-5.2"]
    assert store.verify() == []


@pytest.mark.parametrize("index", ["", "{", "3", '[{"model": 1}]', '[["x"]]'])
def test_an_index_that_cannot_be_read_is_an_empty_one(folder: Path, index: str) -> None:
    store = PromptStore(folder)
    store.save({"gpt-5.2": [OLD]}, "catalogue", 1)
    (folder / "index.json").write_text(index)
    assert store.load() == {}
    assert store.save({"gpt-5.2": [OLD]}, "catalogue", 2) == ["gpt-5.2"]
    assert store.load() == {"gpt-5.2": [OLD]}


def test_an_index_cannot_lead_out_of_its_folder(folder: Path) -> None:
    store = PromptStore(folder)
    store.save({"gpt-5.2": [OLD]}, "catalogue", 1)
    secret = folder.parent / "secret.md"
    secret.write_text("token")
    rows = json.loads((folder / "index.json").read_text())
    rows[0] |= {"file": "../secret.md", "sha256": hashlib.sha256(b"token").hexdigest()}
    (folder / "index.json").write_text(json.dumps(rows))
    assert store.load() == {}


def test_a_folder_of_files_is_a_source(tmp_path: Path) -> None:
    for name, text in {"gpt-5.2.md": OLD, "gpt-5.2+1.md": NEW, "gpt-5.md": NEW, "notes.txt": "x"}.items():
        (tmp_path / name).write_bytes(text.encode())
    assert texts_in_folder(tmp_path) == {"gpt-5.2": [OLD, NEW], "gpt-5": [NEW]}


def test_a_store_is_a_source_for_another(folder: Path) -> None:
    texts = {"gpt-5": [OLD, NEW, "third"], "gpt-5.2": [OLD], "a/b+c": [NEW]}
    PromptStore(folder).save(texts, "catalogue", 1)
    assert texts_in_folder(folder) == texts == PromptStore(folder).load()


# Every example waits for the disk.
@settings(max_examples=20)
@given(st.lists(st.text(alphabet=st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=3))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    store = PromptStore(tmp_path_factory.mktemp("prompts"))
    store.save({"m": texts}, "s", 0)
    assert store.load() == {"m": texts}
