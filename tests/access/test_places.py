"""Places of a host: one holder each, whoever asks, and nobody counts a parent's as a child's."""

import os
import threading
from pathlib import Path

from codexproxy.access.slots import LockFileSlots


def test_each_place_has_one_holder_and_can_be_taken_again(tmp_path: Path) -> None:
    ours, theirs = LockFileSlots(tmp_path, 3), LockFileSlots(tmp_path, 3)
    assert [ours.take(), theirs.take(), ours.take()] == [0, 1, 2]
    assert ours.take() is theirs.take() is None
    assert ours.busy() == theirs.busy() == 3
    theirs.free(1)
    assert ours.busy() == theirs.busy() == 2
    assert [ours.take(), theirs.take()] == [1, None]


def test_looking_takes_nothing(tmp_path: Path) -> None:
    places = LockFileSlots(tmp_path, 2)
    assert places.take() == 0
    assert [places.busy() for _ in range(3)] == [1, 1, 1]
    assert places.take() == 1


def test_a_file_that_cannot_be_opened_does_not_cost_its_place_for_ever(tmp_path: Path) -> None:
    places = LockFileSlots(tmp_path / "later", 1)
    try:
        places.take()
    except FileNotFoundError:
        (tmp_path / "later").mkdir()
    assert places.take() == 0


def test_threads_of_one_process_never_share_a_place(tmp_path: Path) -> None:
    places, holders, mistakes = LockFileSlots(tmp_path, 2), [0, 0], []

    def work() -> None:
        for _ in range(2_000):
            number = places.take()
            if number is None:
                continue
            holders[number] += 1
            if holders[number] != 1:
                mistakes.append(number)
            holders[number] -= 1
            places.free(number)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mistakes == []
    assert places.busy() == 0


def test_a_forked_child_has_none_of_its_parents_places(tmp_path: Path) -> None:
    places = LockFileSlots(tmp_path, 2)
    assert places.take() == 0
    child = os.fork()
    if child == 0:
        # 0 is the parent's still, 1 becomes the child's and is free at its end.
        os._exit(0 if (places.take(), places.take()) == (1, None) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert places.busy() == 1
    assert places.take() == 1
