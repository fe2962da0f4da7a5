"""Long walks let others run: the work between two pauses does not grow with the conversation."""

import sqlite3
import threading
from pathlib import Path
from typing import Any

import gevent
import pytest

from codexproxy.apis.openai_chat import ChatApi
from codexproxy.apis.openai_responses import ResponsesApi
from codexproxy.compat.history.tool_pairs import match_tool_outputs
from codexproxy.metering.input_tokens import count_input, count_lightly
from codexproxy.planning.model_catalog import ModelCatalog
from codexproxy.planning.plan import plan
from codexproxy.planning.request_builder import Policy
from codexproxy.protocol.pacing import STRIDE
from codexproxy.protocol.request import Caller
from codexproxy.server.request_body.fairness import in_thread
from codexproxy.server.stored.response_service import ResponseService, own_input
from codexproxy.storage.base import Stored
from codexproxy.storage.sqlite.database import LONG_LOG, Database
from codexproxy.storage.sqlite.response_tables import SCHEMA
from codexproxy.storage.sqlite.responses import SqliteResponseStore
from codexproxy.storage.stored_responses import OwnedResponses
from tests.growth.conversations import CHAT
from tests.growth.measuring import cost_of
from tests.patience import patient

MANY = 4_000
# Times that a request is gone through from end to end, at least: parsed, named, planned, counted.
WALKS = 4


class Pauses:
    """Counts the pauses."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.mark.parametrize("name", ["plain messages", "parts", "calls in one message", "calls without ids", "tools"])
def test_chat_pauses_all_along_a_long_request(name: str) -> None:
    pauses = Pauses()
    turn = ChatApi(pause=pauses).parse({**CHAT[name][1](MANY), "model": "m"}, Caller())
    parsed = pauses.count
    body = plan(turn, ModelCatalog(), Policy(pause=pauses)).body
    count_input(body, pauses)
    assert parsed >= MANY // STRIDE
    if len(body["input"]) >= MANY:
        assert pauses.count >= WALKS * MANY // STRIDE


def test_responses_pause_all_along_a_long_request(tmp_path: Path) -> None:
    pauses = Pauses()
    store = SqliteResponseStore(Database(tmp_path / "r.sqlite3", SCHEMA), pause=pauses)
    responses = ResponseService(store, most_bytes=100_000_000, pause=pauses)
    items = [{"role": "user", "content": "hi", "id": f"msg_{number}"} for number in range(MANY)]
    turn = responses.recall(ResponsesApi(pauses).parse({"model": "m", "input": items}, Caller("ann")))
    own_input(turn, pauses)
    assert pauses.count >= 3 * MANY // STRIDE
    before = pauses.count
    store.save(Stored("ann", {"id": "r", "status": "completed", "output": []}, items))
    assert pauses.count - before >= MANY // STRIDE
    before = pauses.count
    assert store.history("ann", "r")
    assert pauses.count - before >= MANY // STRIDE


def test_reading_a_long_log_pauses_with_each_bite(tmp_path: Path) -> None:
    pauses = Pauses()
    store = SqliteResponseStore(Database(tmp_path / "r.sqlite3", SCHEMA), pause=pauses)
    store.begin(Stored("ann", {"id": "r", "status": "in_progress", "output": []}, []))
    store.finish("ann", "r", {"id": "r", "status": "completed", "output": []}, [(n, b"frame") for n in range(MANY)])
    before = pauses.count
    bites = list(OwnedResponses(store, "ann").follow("r", patience=1.0, sleep=gevent.sleep))
    assert sum(map(len, bites)) == MANY
    assert pauses.count - before >= len(bites) > 1


LONG_TEXTS: dict[str, tuple[int, dict[str, Any]]] = {
    "a first message": (3, {"messages": [{"role": "user", "content": "x" * 4_000_000}]}),
    "a session": (3, {"messages": [{"role": "user", "content": "hi"}], "prompt_cache_key": "x" * 4_000_000}),
    "tags that nearly are reasoning": (
        400_000 // STRIDE,
        {
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "<details>" * 400_000},
                {"role": "user", "content": "and?"},
            ]
        },
    ),
}


@pytest.mark.parametrize("name", LONG_TEXTS)
def test_planning_pauses_all_along_one_long_text(name: str) -> None:
    pauses, (least, payload) = Pauses(), LONG_TEXTS[name]
    turn = ChatApi().parse({**payload, "model": "m"}, Caller())
    plan(turn, ModelCatalog(), Policy(pause=pauses))
    assert pauses.count >= least


TEXTS = [{"type": "text", "text": "x"}] * MANY
ITEMS: dict[str, Any] = {
    "parts of a message": {"role": "user", "content": TEXTS},
    "parts of an answer": {"role": "assistant", "content": TEXTS},
    "parts of an output": {"type": "function_call_output", "call_id": "c", "output": TEXTS},
    "members of an unknown item": {"type": "odd", "of": [["x"]] * MANY},
}


@pytest.mark.parametrize("name", ITEMS)
def test_a_plan_and_a_count_pause_within_an_item(name: str) -> None:
    turn = ResponsesApi().parse({"model": "m", "input": [ITEMS[name]]}, Caller("ann"))
    planning, counting, estimating = Pauses(), Pauses(), Pauses()
    body = plan(turn, ModelCatalog(), Policy(pause=planning)).body
    count_input(body, counting)
    count_lightly(body, 1_000_000, estimating)
    assert counting.count >= MANY // STRIDE
    if name.startswith("parts"):
        assert planning.count >= MANY // STRIDE
        assert estimating.count >= MANY // STRIDE


def test_unanswered_calls_are_gone_through_with_pauses() -> None:
    pauses = Pauses()
    calls = [{"type": "function_call", "call_id": f"c{number}", "name": "f"} for number in range(MANY)]
    match_tool_outputs(
        [*calls, {"type": "function_call_output", "call_id": "other", "output": ""}], lambda names: None, pauses
    )
    # Looked for, sought by outputs in three ways, named, written; and the outputs among them.
    assert pauses.count >= 6 * (MANY // STRIDE)


def test_a_long_text_is_searched_for_a_word_in_slices() -> None:
    pauses = Pauses()
    body = {"model": "m", "response_format": {"type": "json_object"}}
    for text, adapted in (("x" * 999_998 + "JSON", False), ("x" * 5_000_000, True)):
        turn = ChatApi(pause=pauses).parse({**body, "messages": [{"role": "user", "content": text}]}, Caller())
        assert ("response_format:json_reminder" in turn.adapted) is adapted
    assert pauses.count >= 4


def test_a_short_request_never_pauses() -> None:
    pauses = Pauses()
    turn = ChatApi(pause=pauses).parse({**CHAT["calls and results"][1](20), "model": "m"}, Caller())
    plan(turn, ModelCatalog(), Policy(pause=pauses))
    assert pauses.count == 0


def test_much_is_written_in_a_thread_and_little_is_not(tmp_path: Path) -> None:
    threads: list[Any] = []

    def aside(work: Any) -> Any:
        threads.append(work)
        return work()

    store = SqliteResponseStore(Database(tmp_path / "r.sqlite3", SCHEMA, aside=aside))
    few, many, long = ["hi"] * 3, ["hi"] * 1_000, ["x" * 1_000_000]
    for number, (texts, count) in enumerate(((few, 0), (many, 2), (long, 2))):
        threads.clear()
        items = [{"role": "user", "content": text} for text in texts]
        store.save(Stored("ann", {"id": f"r{number}", "status": "completed", "output": []}, items))
        # What is written, and its commit.
        assert len(threads) == count


def test_one_long_item_is_digested_in_slices(tmp_path: Path) -> None:
    pauses = Pauses()
    store = SqliteResponseStore(Database(tmp_path / "r.sqlite3", SCHEMA), pause=pauses)
    item = {"role": "user", "content": "x" * 10_000_000}
    store.save(Stored("ann", {"id": "r", "status": "completed", "output": []}, [item]))
    assert pauses.count >= 9
    history = store.history("ann", "r")
    assert history is not None and history.input == [item]


def test_long_logs_are_written_back_in_a_thread_and_never_in_a_commit(tmp_path: Path) -> None:
    logs: list[int] = []
    path = tmp_path / "r.sqlite3"

    def aside(work: Any) -> Any:
        logs.append(Path(f"{path}-wal").stat().st_size)
        return work()

    database = Database(path, ["CREATE TABLE t (a)"], aside=aside)
    for _ in range(60):
        before = len(logs)
        with database.transaction() as connection:
            connection.execute("INSERT INTO t VALUES (?)", ("x" * 200_000,))
        assert len(logs) - before <= 1
    # Some 12 MB: twice the log became longer than its bound, and began anew each time.
    assert 2 <= len(logs) <= 4
    assert all(LONG_LOG < size < LONG_LOG + 1_000_000 for size in logs)
    assert Path(f"{path}-wal").stat().st_size < LONG_LOG + 1_000_000
    assert database.rows("SELECT count(*) FROM t") == [(60,)]


def test_a_log_that_somebody_reads_is_written_back_later(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite3"
    database = Database(path, ["CREATE TABLE t (a)"], aside=lambda work: work())
    with database.transaction() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM t").fetchone() == (1,)
    for _ in range(30):
        with database.transaction() as connection:
            connection.execute("INSERT INTO t VALUES (?)", ("x" * 200_000,))
    assert reader.execute("SELECT count(*) FROM t").fetchone() == (1,)
    assert Path(f"{path}-wal").stat().st_size > LONG_LOG
    reader.close()
    for _ in range(2):
        with database.transaction() as connection:
            connection.execute("INSERT INTO t VALUES (2)")
    assert Path(f"{path}-wal").stat().st_size < LONG_LOG
    assert database.rows("SELECT count(*) FROM t") == [(33,)]


def test_whoever_is_ended_meanwhile_waits_for_the_thread() -> None:
    may_end = threading.Event()
    done: list[str] = []

    def work() -> None:
        may_end.wait(patient(10))
        done.append("work")

    def wait() -> None:
        try:
            in_thread(work)
        finally:
            done.append("waiter")

    waiter = gevent.spawn(wait)
    gevent.sleep(0)
    gevent.spawn(waiter.kill, block=False)
    gevent.sleep(0.01)
    assert done == []
    may_end.set()
    waiter.join(patient(10))
    assert done == ["work", "waiter"]


def test_a_session_of_megabytes_takes_no_copies_of_itself() -> None:
    turn = ChatApi().parse(
        {"model": "m", "messages": [{"role": "user", "content": "hi"}], "prompt_cache_key": "x" * 8_000_000}, Caller()
    )
    # It is put together with the caller's name, and written as bytes.
    assert cost_of(lambda: plan(turn, ModelCatalog(), Policy())).memory < 24_000_000
