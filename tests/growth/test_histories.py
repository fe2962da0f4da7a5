"""Stored histories: how much is kept, how it is continued, referred to, listed and looked up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.apis.openai_responses.compaction import summarised
from codexproxy.apis.openai_responses.stored import Listing, page
from codexproxy.errors import BodyTooLarge
from codexproxy.protocol.request import Caller
from codexproxy.server.stored.response_service import ResponseService
from codexproxy.storage.base import Stored
from codexproxy.storage.sqlite.database import Database
from codexproxy.storage.sqlite.response_tables import SCHEMA
from codexproxy.storage.sqlite.responses import SqliteResponseStore
from tests.growth.measuring import Work, check, cost_of

Json = dict[str, Any]
Open = Callable[[int], SqliteResponseStore]
API = ResponsesApi()
LARGE = "x" * 100_000


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """A fresh store for each size."""
    return lambda size: SqliteResponseStore(Database(tmp_path / f"{size}.sqlite3", SCHEMA))


def said(id: str, text: str = "hi") -> Json:
    return {"id": id, "type": "message", "role": "user", "content": text}


def keep(store: SqliteResponseStore, id: str, items: list[Json], previous: str | None = None) -> None:
    output = [{"id": f"out_{id}", "type": "message", "role": "assistant", "content": "yes"}]
    store.save(Stored("ann", {"id": id, "status": "completed", "output": output}, items, previous))


def chain(store: SqliteResponseStore, size: int) -> None:
    """A conversation of so many turns."""
    for number in range(size):
        keep(store, f"r{number}", [said(f"i{number}")], f"r{number - 1}" if number else None)


def recalling(
    store: SqliteResponseStore, items: list[Json], previous: str | None = None, most: int = 10_000_000
) -> Work:
    """A request that leans on what is stored."""
    payload: Json = {"model": "m", "input": items, **({"previous_response_id": previous} if previous else {})}
    responses = ResponseService(store, most_bytes=most)
    return lambda: responses.recall(API.parse(dict(payload), Caller("ann")))


def test_a_chain_costs_what_it_is_long(opened: Open) -> None:
    def build(size: int) -> Work:
        chain(store := opened(size), size)
        return recalling(store, [said("new")], f"r{size - 1}")

    check(build, 40)


def test_references_cost_what_they_are_many(opened: Open) -> None:
    def build(size: int) -> Work:
        keep(store := opened(size), "r", [said(f"i{number}") for number in range(size)])
        return recalling(store, [{"type": "item_reference", "id": f"i{number}"} for number in range(size)])

    check(build, 150)


def test_an_item_that_stands_in_many_responses_costs_one(opened: Open) -> None:
    def build(size: int) -> Work:
        store = opened(size)
        for number in range(size):
            keep(store, f"r{number}", [said("same", LARGE)])
        return recalling(store, [{"type": "item_reference", "id": "same"}])

    check(build, 20)


def test_what_is_refused_was_not_read(opened: Open) -> None:
    keep(store := opened(0), "r", [said("large", LARGE)])
    references = [{"type": "item_reference", "id": "large"}] * 8_000
    work = recalling(store, references, most=1_000_000)
    with pytest.raises(BodyTooLarge):
        work()
    assert cost_of(work).memory < 5_000_000


def test_keeping_costs_what_is_kept(opened: Open) -> None:
    def build(size: int) -> Work:
        store, items = opened(size), [said(f"i{number}") for number in range(size)]
        return lambda: keep(store, "r", items)

    check(build, 150)


def test_listing_costs_what_is_listed(opened: Open) -> None:
    def build(size: int) -> Work:
        items = [said(f"i{number}") for number in range(size)]
        return lambda: page(items, Listing(after="i0", order="asc", limit=100))

    check(build, 500)


def test_a_summary_costs_what_it_sums_up(opened: Open) -> None:
    def build(size: int) -> Work:
        turn = API.parse({"model": "m", "input": [said(f"i{number}") for number in range(size)]}, Caller())
        answer = {"output": [{"type": "message", "content": [{"type": "output_text", "text": "all of it"}]}]}
        return lambda: summarised(turn, answer)

    check(build, 300)
