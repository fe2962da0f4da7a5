"""Conversations are remembered: by one process, and by all of a host."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from codexproxy.protocol.request import Caller, Turn
from codexproxy.upstream.router.affinity import (
    SWEEP,
    SWEEP_EVERY,
    Affinity,
    HostAffinity,
    ProcessAffinity,
    conversation_of,
)
from tests.fakes.clock import Clock


@pytest.fixture(params=["process", "host"])
def affinity(request: pytest.FixtureRequest, tmp_path: Path) -> Affinity:
    return ProcessAffinity() if request.param == "process" else HostAffinity(tmp_path / "conversations.db")


def test_a_conversation_is_recalled_until_it_moves(affinity: Affinity) -> None:
    assert affinity.recall("c") is None
    affinity.remember("c", "one")
    assert affinity.recall("c") == "one"
    affinity.remember("c", "two")
    assert (affinity.recall("c"), affinity.recall("d")) == ("two", None)


def test_a_process_forgets_the_oldest_conversation_first() -> None:
    affinity = ProcessAffinity(size=2)
    for conversation in ("a", "b", "a", "c"):
        affinity.remember(conversation, "x")
    assert [affinity.recall(name) for name in "abc"] == ["x", None, "x"]


def test_what_one_process_learns_another_knows(tmp_path: Path) -> None:
    one, two = HostAffinity(tmp_path / "c.db"), HostAffinity(tmp_path / "c.db")
    one.remember("c", "first")
    assert two.recall("c") == "first"
    two.remember("c", "second")
    assert one.recall("c") == "second"


def test_a_host_forgets_after_a_month(tmp_path: Path) -> None:
    clock = Clock()
    affinity = HostAffinity(tmp_path / "c.db", clock)
    affinity.remember("old", "x")
    clock.now += 31 * 24 * 3600
    for number in range(SWEEP_EVERY):
        affinity.remember(f"new {number}", "x")
    assert (affinity.recall("old"), affinity.recall("new 0")) == (None, "x")


def test_without_a_usable_file_each_process_remembers_for_itself(tmp_path: Path) -> None:
    (tmp_path / "c.db").mkdir()
    affinity = HostAffinity(tmp_path / "c.db")
    affinity.remember("c", "one")
    assert affinity.recall("c") == "one"


def test_a_conversations_name_tells_callers_apart_and_hides_the_id() -> None:
    ann, bob = (Turn("m", {}, caller=Caller(name), cache_key="id") for name in ("ann", "bob"))
    assert conversation_of(ann) == conversation_of(ann) != conversation_of(bob)
    assert "id" not in conversation_of(ann)


def test_what_is_too_old_is_found_without_a_walk_over_all(tmp_path: Path) -> None:
    path = tmp_path / "affinity.sqlite3"
    affinity = HostAffinity(path)
    affinity.remember("a conversation", "an account")
    affinity.close()
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {SWEEP}", (0.0,)).fetchall()
    assert "USING INDEX conversations_answered" in str(plan) or "USING COVERING INDEX conversations_answered" in str(
        plan
    )
