"""A data folder that an earlier version left behind opens unchanged (see ``tests/data/old_data_folder/README.md``)."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codexproxy.access.key_file import KeyFile
from codexproxy.access.keys import KeyRing
from codexproxy.access.limit_store import SQLiteStorage, storage_uri
from codexproxy.access.rate_limits import Limiter
from codexproxy.data_dir import DataDir
from codexproxy.login.tokens.external_store import LinkedTokenStore
from codexproxy.storage.files.prompts import PromptStore
from codexproxy.storage.sqlite.ledger import Ledger, TurnRecord
from codexproxy.upstream.quota_store import QuotaBook
from tests.service import Service, wait_until

FOLDERS = Path(__file__).parents[1] / "data" / "old_data_folder"
# Older than any of the responses will ever be.
FOR_EVER = "36500"


class OldFolder:
    """A copy of the folder that one version left, and what it must hold."""

    def __init__(self, version: str, parent: Path) -> None:
        with tarfile.open(FOLDERS / f"{version}.tar.gz") as archive:
            archive.extractall(parent, filter="tar")
        self.files = DataDir(parent / "data")
        self.expected: dict[str, Any] = json.loads((FOLDERS / f"{version}.json").read_text())

    def headers(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.expected['keys'][name]}"}

    def rows(self) -> list[TurnRecord]:
        ledger = Ledger(self.files.ledger)
        try:
            return ledger.newest(100)[::-1]
        finally:
            ledger.close()


@pytest.fixture(params=["version-0.1", "before-0.2"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> OldFolder:
    # Where the first service of the ``serve`` fixture looks for its data folder.
    return OldFolder(request.param, tmp_path / "service-0")


@pytest.fixture
def upgraded(old: OldFolder, serve: Callable[..., Service]) -> Service:
    """A service of this version on the old folder, signed in afresh since the old simulator is gone."""
    return serve(STORE_MAX_DAYS=FOR_EVER, WEB_CONCURRENCY="2")


def test_the_login_is_still_there(old: OldFolder) -> None:
    tokens = LinkedTokenStore.in_folder(old.files.root).load()
    assert tokens is not None
    kept = tokens.to_json()
    assert {name: kept[name] for name in old.expected["tokens"]} == old.expected["tokens"]


def test_instructions_are_still_there_and_intact(old: OldFolder) -> None:
    store = PromptStore(old.files.prompts)
    assert "gpt-5.5" in store.load()
    assert store.verify() == []


def test_ledger_and_quota_survive_the_kill(old: OldFolder) -> None:
    rows = [(row.key, row.dialect, row.status) for row in sorted(old.rows(), key=lambda row: row.at)]
    kinds = [("responses", 200), ("responses", 200), ("chat", 200), ("chat", 404), ("responses", 200)]
    assert rows == [("alice", *kind) for kind in kinds]
    quota = QuotaBook(old.files.quotas).of("default")
    assert quota is not None
    assert quota.windows


# Version 0.1 counted under names with the limit in them, which nothing reads any more.
@pytest.mark.parametrize("old", ["before-0.2"], indirect=True)
def test_limits_count_on_from_where_they_were(old: OldFolder) -> None:
    def clock() -> float:
        return float(old.expected["made_at"])

    storage = SQLiteStorage(storage_uri(old.files.limits), clock=clock)
    ring = KeyRing(source=KeyFile(old.files.keys))
    alice = ring.identify(old.expected["keys"]["alice"])
    standing = Limiter(storage, storage, clock=clock).status(alice)
    assert standing.requests is not None
    assert standing.tokens is not None
    spent = sum(row.input_tokens + row.output_tokens for row in old.rows())
    assert standing.requests.limit - standing.requests.remaining == len(old.rows()) + 1
    assert standing.tokens.limit - standing.tokens.remaining == spent
    storage.close()


def test_keys_and_stored_responses_are_served(old: OldFolder, upgraded: Service) -> None:
    for response in old.expected["responses"]:
        assert upgraded.get(f"/v1/responses/{response['id']}", old.headers("alice")).json == response
        assert upgraded.get(f"/v1/responses/{response['id']}", old.headers("bob")).status == 404
    assert upgraded.get("/v1/models", {"Authorization": "Bearer another"}).status == 401


def test_a_stored_conversation_goes_on(old: OldFolder, upgraded: Service) -> None:
    body = {"model": old.expected["model"], "input": "And?", "previous_response_id": old.expected["responses"][1]["id"]}
    answer = upgraded.request("POST", "/v1/responses", body, old.headers("alice"))
    assert answer.status == 200
    sent = json.dumps(upgraded.sim.last_turn()["json"]["input"])
    assert [word in sent for word in ("Remember 41.", "And 42.", "And?")] == [True] * 3
    assert upgraded.sim.last_turn()["json"]["prompt_cache_key"] == old.expected["conversation"]


# Version 0.1 kept no journal.
@pytest.mark.parametrize("old", ["before-0.2"], indirect=True)
def test_a_turn_that_was_killed_is_written_down(old: OldFolder, upgraded: Service) -> None:
    wait_until(lambda: any(row.code == "worker_killed" for row in old.rows()), "the row of the killed turn")
