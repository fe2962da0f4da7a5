"""Limits per key and of all, their headers, and a storage that is exact for several processes."""

import multiprocessing
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from limits.storage import MemoryStorage

from codexproxy.access.authorization import Identity, KeyLimits
from codexproxy.access.limit_store import SQLiteStorage, storage_uri
from codexproxy.access.rate_limits import Limiter, duration, open_storage
from codexproxy.errors import InvalidRequest, RateLimited
from tests.fakes.clock import Clock
from tests.patience import patient

# 2026-11-21 00:00:00 UTC
MIDNIGHT = 1795219200.0


@pytest.fixture
def clock() -> Clock:
    return Clock(MIDNIGHT + 3600)


@pytest.fixture
def storage(tmp_path: Path, clock: Clock) -> SQLiteStorage:
    return SQLiteStorage(storage_uri(tmp_path / "a folder" / "limits.db"), clock=clock)


def limiter(storage: SQLiteStorage, clock: Clock, per_minute: int | None = None) -> Limiter:
    return Limiter(storage, storage, per_minute=per_minute, clock=clock)


def key(name: str = "ann", **limits: Any) -> Identity:
    return Identity(name, keyed=True, limits=KeyLimits(**limits))


def answers(limits: Limiter, identity: Identity, times: int) -> int:
    admitted = 0
    for _ in range(times):
        try:
            limits.admit(identity)
        except RateLimited:
            continue
        admitted += 1
    return admitted


def test_without_limits_everybody_is_admitted_without_headers(storage: SQLiteStorage, clock: Clock) -> None:
    limits = limiter(storage, clock)
    assert answers(limits, key(), 50) == 50
    assert limits.status(key()).headers() == {}


def test_a_key_may_ask_as_often_as_its_limit_says_in_any_minute(storage: SQLiteStorage, clock: Clock) -> None:
    limits, ann = limiter(storage, clock), key(rate_per_minute=3)
    assert answers(limits, ann, 5) == 3
    clock.now += 59
    assert answers(limits, ann, 5) == 0
    clock.now += 1.5
    assert answers(limits, ann, 5) == 3


def test_retry_after_is_true_to_the_second(storage: SQLiteStorage, clock: Clock) -> None:
    limits, ann = limiter(storage, clock), key(rate_per_minute=2)
    limits.admit(ann)
    clock.now += 10
    limits.admit(ann)
    clock.now += 7.5
    with pytest.raises(RateLimited) as refusal:
        limits.admit(ann)
    assert (refusal.value.status, refusal.value.code, refusal.value.retry_after) == (429, "rate_limit_exceeded", 43)
    clock.now += 42
    assert answers(limits, ann, 1) == 0
    clock.now += 1
    assert answers(limits, ann, 1) == 1


def test_refused_requests_are_not_counted(storage: SQLiteStorage, clock: Clock) -> None:
    limits, ann = limiter(storage, clock), key(rate_per_minute=1)
    limits.admit(ann)
    for _ in range(60):
        clock.now += 0.9
        assert answers(limits, ann, 3) == 0
    clock.now += 10
    assert answers(limits, ann, 1) == 1


def test_keys_are_counted_apart(storage: SQLiteStorage, clock: Clock) -> None:
    limits = limiter(storage, clock)
    assert [answers(limits, key(name, rate_per_minute=2), 4) for name in ("ann", "bob", "a b")] == [2, 2, 2]


def test_the_limit_of_all_counts_every_key_and_no_refused_one(storage: SQLiteStorage, clock: Clock) -> None:
    limits = limiter(storage, clock, per_minute=5)
    assert answers(limits, key("greedy", rate_per_minute=2), 20) == 2
    assert answers(limits, key("bob"), 20) == 3
    with pytest.raises(RateLimited, match="This service"):
        limits.admit(key("cy"))


def test_headers_tell_the_tighter_limit(storage: SQLiteStorage, clock: Clock) -> None:
    limits = limiter(storage, clock, per_minute=100)
    standing = limits.admit(key(rate_per_minute=10, tokens_per_day=1000))
    assert standing.headers() == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "1000",
        "x-ratelimit-reset-tokens": "23h0m0s",
    }


def test_tokens_of_a_day_run_out_and_come_back_at_midnight(storage: SQLiteStorage, clock: Clock) -> None:
    limits, ann = limiter(storage, clock), key(tokens_per_day=1000)
    limits.spend(ann, 600)
    assert limits.admit(ann).tokens is not None
    limits.spend(ann, 600)
    with pytest.raises(RateLimited) as refusal:
        limits.admit(ann)
    assert (refusal.value.code, refusal.value.retry_after) == ("insufficient_quota", 23 * 3600)
    clock.now = MIDNIGHT + 24 * 3600 + 1
    assert limits.admit(ann).headers()["x-ratelimit-remaining-tokens"] == "1000"


def test_another_limit_gives_nobody_the_tokens_and_requests_of_the_day_again(
    storage: SQLiteStorage, clock: Clock
) -> None:
    limits = limiter(storage, clock, per_minute=10)
    generous = key(tokens_per_day=1000, rate_per_minute=5)
    assert answers(limits, generous, 4) == 4
    limits.spend(generous, 900)
    with pytest.raises(RateLimited, match="its 800 tokens of the day"):
        limits.admit(key(tokens_per_day=800))
    assert limits.status(key(tokens_per_day=1200)).headers()["x-ratelimit-remaining-tokens"] == "300"
    assert answers(limits, key(rate_per_minute=4), 1) == 0
    assert answers(limits, key(rate_per_minute=6), 9) == 2
    assert answers(limiter(storage, clock, per_minute=7), key("bob"), 9) == 1


def test_tokens_are_remembered_across_a_restart(storage: SQLiteStorage, clock: Clock, tmp_path: Path) -> None:
    limiter(storage, clock).spend(key(tokens_per_day=10), 10)
    storage.close()
    again = SQLiteStorage(storage_uri(tmp_path / "a folder" / "limits.db"), clock=clock)
    assert answers(limiter(again, clock), key(tokens_per_day=10), 1) == 0


@pytest.mark.parametrize("tokens", [0, -5])
def test_a_turn_without_tokens_costs_nothing(storage: SQLiteStorage, clock: Clock, tokens: int) -> None:
    limits, ann = limiter(storage, clock), key(tokens_per_day=1)
    limits.spend(ann, tokens)
    assert answers(limits, ann, 1) == 1


def test_the_memory_storage_counts_alike() -> None:
    limits = Limiter(MemoryStorage(), MemoryStorage(), per_minute=3)
    assert answers(limits, key(), 10) == 3


def test_storages_are_named_by_their_uri(tmp_path: Path) -> None:
    assert isinstance(open_storage("memory://"), MemoryStorage)
    assert isinstance(open_storage(storage_uri(tmp_path / "l.db")), SQLiteStorage)
    with pytest.raises(Exception, match="nonsense"):
        open_storage("nonsense://x")


def ask(path: str, times: int, results: Any) -> None:
    limits = Limiter(open_storage(path), open_storage(path), per_minute=None)
    results.put(answers(limits, key(rate_per_minute=100), times))


def test_a_limit_of_100_is_exact_for_1000_requests_of_four_processes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    path = storage_uri(tmp_path / "limits.db")
    workers = [context.Process(target=ask, args=(path, 250, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    admitted = [results.get(timeout=patient(60)) for _ in workers]
    for worker in workers:
        worker.join(timeout=patient(10))
    assert sum(admitted) == 100


def test_what_has_expired_is_swept(storage: SQLiteStorage, clock: Clock) -> None:
    for number in range(150):
        storage.acquire_entry(f"key {number}", 5, 60)
        storage.incr(f"counter {number}", 60)
    clock.now += 61
    for _ in range(200):
        storage.incr("another", 60)
    assert storage.reset() == 1


def test_a_counter_starts_again_when_its_time_is_over(storage: SQLiteStorage, clock: Clock) -> None:
    assert [storage.incr("c", 10), storage.incr("c", 10, 4)] == [1, 5]
    assert storage.get_expiry("c") == clock.now + 10
    clock.now += 10
    assert (storage.get("c"), storage.incr("c", 10), storage.get_expiry("none")) == (0, 1, clock.now)
    storage.clear("c")
    assert storage.get("c") == 0
    assert storage.check()


def test_a_moving_window_agrees_with_a_plain_model(storage: SQLiteStorage, clock: Clock) -> None:
    chance = random.Random(7)
    kept: list[float] = []
    for _ in range(300):
        clock.now += chance.choice((0.1, 3.0, 11.0))
        kept = [moment for moment in kept if moment > clock.now - 60]
        expected = len(kept) < 7
        if expected:
            kept.append(clock.now)
        assert storage.acquire_entry("k", 7, 60) is expected
        assert storage.get_moving_window("k", 7, 60) == (kept[0], len(kept))


def test_a_storage_that_cannot_be_used_says_so_and_counts_in_this_process(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "limits.db").mkdir()
    storage = SQLiteStorage(storage_uri(tmp_path / "limits.db"), clock=clock)
    assert not storage.check()
    limits, ann = limiter(storage, clock), key(rate_per_minute=3, tokens_per_day=100)
    assert answers(limits, ann, 5) == 3
    assert limits.status(ann).headers()["x-ratelimit-remaining-requests"] == "0"
    clock.now += 61
    limits.spend(ann, 100)
    with pytest.raises(RateLimited, match="its 100 tokens of the day"):
        limits.admit(ann)


def test_what_was_counted_while_the_file_could_not_be_written_is_added_to_what_it_holds(
    storage: SQLiteStorage, clock: Clock, tmp_path: Path
) -> None:
    limits, ann = limiter(storage, clock), key(rate_per_minute=4, tokens_per_day=100)
    limits.admit(ann)
    limits.spend(ann, 40)
    with closing(sqlite3.connect(tmp_path / "a folder" / "limits.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        limits.admit(ann)
        limits.spend(ann, 40)
        # What the file holds can still be read.
        assert limits.status(ann).headers()["x-ratelimit-remaining-tokens"] == "20"
        writer.execute("ROLLBACK")
    assert answers(limits, ann, 5) == 2
    assert limits.status(ann).headers()["x-ratelimit-remaining-tokens"] == "20"


@pytest.mark.parametrize("hours", [1, 2, 24 * 365])
def test_a_clock_set_back_locks_no_key(storage: SQLiteStorage, clock: Clock, hours: int) -> None:
    limits, ann = limiter(storage, clock), key(rate_per_minute=3)
    assert answers(limits, ann, 5) == 3
    clock.now -= 3600 * hours
    assert limits.status(ann).headers()["x-ratelimit-reset-requests"] == "0ms"
    assert answers(limits, ann, 5) == 3
    clock.now += 61
    assert answers(limits, ann, 5) == 3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0204, "21ms"),
        (1, "1s"),
        (8.64, "8.7s"),
        (59.99, "60s"),
        (60, "1m0s"),
        (360, "6m0s"),
        (3725.2, "1h2m6s"),
    ],
)
def test_durations_are_written_as_the_openai_api_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_each_turn_of_a_request_counts_and_what_does_not_fit_counts_nothing(
    storage: SQLiteStorage, clock: Clock
) -> None:
    limits, ann = limiter(storage, clock, per_minute=5), key(rate_per_minute=4)
    limits.admit(ann, 3)
    with pytest.raises(RateLimited):
        limits.admit(ann, 2)
    with pytest.raises(RateLimited):
        limits.admit(key("bob"), 3)
    limits.admit(ann)
    limits.admit(key("bob"))
    assert answers(limits, ann, 1) == answers(limits, key("bob"), 1) == 0


@pytest.mark.parametrize(("own", "everybody"), [(3, None), (None, 3), (9, 3)])
def test_a_request_that_no_minute_has_room_for_is_refused_for_good(
    storage: SQLiteStorage, clock: Clock, own: int | None, everybody: int | None
) -> None:
    limits, ann = limiter(storage, clock, per_minute=everybody), key(rate_per_minute=own)
    with pytest.raises(InvalidRequest) as refusal:
        limits.admit(ann, 4)
    assert (refusal.value.status, refusal.value.code, refusal.value.param) == (400, "invalid_value", "n")
    limits.admit(ann, 3)
