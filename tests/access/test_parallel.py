"""Parallel turns per key: counted over all processes, given back on every way out."""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from codexproxy.access.authorization import Identity, KeyLimits
from codexproxy.access.parallel import ParallelTurns
from codexproxy.errors import InvalidRequest, RateLimited
from tests.patience import patient


def key(name: str = "ann", most: int | None = 2) -> Identity:
    return Identity(name, keyed=True, limits=KeyLimits(max_parallel=most))


@pytest.fixture
def turns(tmp_path: Path) -> ParallelTurns:
    return ParallelTurns(tmp_path / "places")


def test_a_key_runs_as_many_turns_as_it_may_and_one_more_when_one_ends(turns: ParallelTurns) -> None:
    first, _second = turns.acquire(key()), turns.acquire(key())
    with pytest.raises(RateLimited) as refusal:
        turns.acquire(key())
    assert (refusal.value.code, refusal.value.retry_after) == ("rate_limit_exceeded", 1)
    first.release()
    first.release()
    turns.acquire(key()).release()


def test_keys_do_not_share_places(turns: ParallelTurns) -> None:
    with turns.held(key("ann", 1)), turns.held(key("bob", 1)), pytest.raises(RateLimited):
        turns.acquire(key("ann", 1))


def test_a_key_without_a_limit_leaves_no_files(turns: ParallelTurns, tmp_path: Path) -> None:
    with turns.held(key(most=None)):
        assert list(tmp_path.iterdir()) == []


def test_a_turn_that_fails_gives_its_place_back(turns: ParallelTurns) -> None:
    with pytest.raises(ZeroDivisionError), turns.held(key(most=1)):
        raise ZeroDivisionError
    turns.acquire(key(most=1)).release()


def test_names_of_any_kind_are_fine(turns: ParallelTurns, tmp_path: Path) -> None:
    with turns.held(key("../../etc/ä \ud800", 1)):
        assert [path.parent.name for path in tmp_path.rglob("*-0")] == ["places"]


def hold(folder: Path, ready: Any, go_on: Any) -> None:
    place = ParallelTurns(folder).acquire(key(most=1))
    ready.set()
    go_on.wait(patient(60))
    place.release()


def test_places_are_counted_over_processes_and_a_killed_one_gives_its_place_back(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, go_on = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path, ready, go_on))
    other.start()
    try:
        assert ready.wait(patient(60))
        turns = ParallelTurns(tmp_path)
        with pytest.raises(RateLimited):
            turns.acquire(key(most=1))
        assert other.pid
        os.kill(other.pid, signal.SIGKILL)
        other.join(patient(30))
        turns.acquire(key(most=1)).release()
    finally:
        other.kill()
        other.join(patient(30))


def test_the_turns_of_one_request_take_their_places_all_or_none(turns: ParallelTurns) -> None:
    ann = key(most=3)
    one = turns.acquire(ann)
    with pytest.raises(RateLimited):
        turns.acquire(ann, 3)
    both = turns.acquire(ann, 2)
    with pytest.raises(RateLimited):
        turns.acquire(ann)
    both.release()
    one.release()
    turns.acquire(ann, 3).release()


@pytest.mark.parametrize(("own", "all_keys"), [(2, None), (None, 2), (5, 2)])
def test_a_request_that_could_never_run_is_refused_for_good(tmp_path: Path, own: int | None, all_keys: int) -> None:
    turns = ParallelTurns(tmp_path, all_keys)
    turns.acquire(key(most=own), 2).release()
    with pytest.raises(InvalidRequest) as refusal:
        turns.acquire(key(most=own), 3)
    assert (refusal.value.status, refusal.value.code, refusal.value.param) == (400, "invalid_value", "n")


def test_a_folder_that_cannot_be_written_refuses_nobody_and_lifts_no_limit_of_this_process(tmp_path: Path) -> None:
    (tmp_path / "parallel").write_text("no folder")
    turns, ann = ParallelTurns(tmp_path / "parallel"), key("ann", 2)
    slots = [turns.acquire(ann), turns.acquire(ann)]
    with pytest.raises(RateLimited):
        turns.acquire(ann)
    slots[0].release()
    slots[0].release()
    turns.acquire(ann).release()
    with turns.held(key("bob", 1)):
        pass
