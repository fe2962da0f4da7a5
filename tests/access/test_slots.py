"""Places on a host: never more than there are, first come first served, given back on every way out."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from codexproxy.access.slots import Slots
from codexproxy.errors import InvalidRequest, Overloaded, RateLimited
from tests.patience import patient

HOLDER = """
import sys, time
from pathlib import Path
from codexproxy.access.slots import Slots
slot = Slots(Path(sys.argv[1]), int(sys.argv[2]), 60).acquire()
print("held", flush=True)
sys.stdin.read()
"""

WORKER = """
import sys, threading, time
from pathlib import Path
from codexproxy.access.slots import Slots
slots = Slots(Path(sys.argv[1]), int(sys.argv[2]), 60)
log = open(sys.argv[3], "a", buffering=1)

def turn(number):
    with slots.held():
        log.write("+\\n")
        time.sleep(0.05)
        log.write("-\\n")

threads = [threading.Thread(target=turn, args=(number,)) for number in range(int(sys.argv[4]))]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import sys, time
from pathlib import Path
import gevent
from codexproxy.access.slots import Slots
slots = Slots(Path(sys.argv[1]), 4, 60)
running, most, turns, ticks = 0, 0, 0, 0

def turn():
    global running, most, turns
    with slots.held():
        running += 1
        most = max(most, running)
        gevent.sleep(0.01)
        running -= 1
        turns += 1

def tick():
    global ticks
    while True:
        gevent.sleep(0.005)
        ticks += 1

ticker = gevent.spawn(tick)
turns_asked = [gevent.spawn(turn) for _ in range(64)]
gevent.sleep(0.02)
gevent.killall(turns_asked[50:])
gevent.joinall(turns_asked)
print(most, turns, slots.waiting(), slots.busy(), ticks > 10)
"""


SLEEPER = """
import sys, time
from pathlib import Path
from codexproxy.access.slots import Slots
slot = Slots(Path(sys.argv[1]), 1, 60).acquire()
print("held", flush=True)
slot.release()
"""

PAIRS = """
import sys, threading, time
from pathlib import Path
from codexproxy.access.slots import Slots
slots = Slots(Path(sys.argv[1]), 2, 30)

def request():
    places = slots.acquire_all(2)
    time.sleep(0.01)
    for place in places:
        place.release()
    print("served", flush=True)

threads = [threading.Thread(target=request) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


class ScriptedTime:
    """A clock that moves only when somebody sleeps; ``on_sleep`` may act meanwhile."""

    def __init__(self, on_sleep: Callable[[], None] = lambda: None) -> None:
        self.now = 0.0
        self.on_sleep = on_sleep

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "slots"


@pytest.fixture
def children() -> Iterator[list["subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for child in started:
        child.kill()
        child.communicate()


def child(children: list["subprocess.Popen[str]"], script: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", script, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    children.append(process)
    return process


def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + patient(seconds)
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.005)


def test_there_are_as_many_places_as_said_and_a_released_one_is_free_again(folder: Path) -> None:
    slots = Slots(folder, 2, 0)
    first, second = slots.acquire(), slots.acquire()
    assert slots.busy() == 2
    with pytest.raises(RateLimited):
        slots.acquire()
    first.release()
    first.release()
    assert slots.busy() == 1
    with slots.held():
        assert slots.busy() == 2
    second.release()
    assert slots.busy() == 0


def test_waiting_too_long_is_a_429_that_says_when_to_come_back(folder: Path) -> None:
    time_ = ScriptedTime()
    slots = Slots(folder, 1, 30, clock=time_.clock, sleep=time_.sleep)
    with slots.held(), pytest.raises(RateLimited) as refusal:
        slots.acquire()
    assert (refusal.value.status, refusal.value.code) == (429, "queue_timeout")
    assert refusal.value.retry_after == 30
    assert time_.now == pytest.approx(30)
    assert slots.waiting() == 0


def test_a_client_that_leaves_gives_up_its_place_in_the_queue(folder: Path) -> None:
    slots = Slots(folder, 1, 30)
    with slots.held():
        with pytest.raises(RateLimited):
            slots.acquire(gone=lambda: True)
        assert slots.waiting() == 0


def test_a_waiter_that_is_stopped_gives_up_its_place_in_the_queue(folder: Path) -> None:
    class Stopped(BaseException):
        pass

    def stop() -> None:
        assert slots.waiting() == 1
        raise Stopped

    time_ = ScriptedTime(stop)
    slots = Slots(folder, 1, 30, clock=time_.clock, sleep=time_.sleep)
    with slots.held(), pytest.raises(Stopped):
        slots.acquire()
    assert slots.waiting() == 0
    slots.acquire().release()


def test_first_come_is_first_served(folder: Path) -> None:
    slots, served, threads = Slots(folder, 1, 30), [], []

    def turn(number: int) -> None:
        with slots.held():
            served.append(number)

    with slots.held():
        for number in range(12):
            threads.append(threading.Thread(target=turn, args=(number,)))
            threads[-1].start()
            eventually(lambda expected=number + 1: slots.waiting() == expected)  # type: ignore[misc]
    for thread in threads:
        thread.join(patient(20))
    assert served == list(range(12))


def test_whoever_asks_once_waits_for_one_turn_of_somebody_who_asks_often(folder: Path) -> None:
    slots, served, threads = Slots(folder, 1, 30, most_waiting=5), [], []

    def turn(owner: str, number: int) -> None:
        slot = slots.acquire(owner=owner)
        served.append((owner, number))
        slot.release()

    with slots.held():
        # Bob comes last, to a queue that is full of Ann's turns.
        for order, (owner, number) in enumerate([*(("ann", n) for n in range(5)), ("bob", 0), ("bob", 1)]):
            threads.append(threading.Thread(target=turn, args=(owner, number)))
            threads[-1].start()
            eventually(lambda expected=order + 1: slots.waiting() == expected)  # type: ignore[misc]
        with pytest.raises(Overloaded):
            slots.acquire(owner="ann")
    for thread in threads:
        thread.join(patient(20))
    assert served[:4] == [("ann", 0), ("bob", 0), ("ann", 1), ("bob", 1)]
    assert served[4:] == [("ann", number) for number in range(2, 5)]


def test_turns_that_come_later_stand_behind_the_round_that_is_served(folder: Path) -> None:
    slots, served, threads = Slots(folder, 1, 30), [], []

    def begin(owner: str, expected: int) -> None:
        def turn() -> None:
            slot = slots.acquire(owner=owner)
            served.append(owner)
            if owner == "ann" and served.count("ann") == 3:
                begin("bob", 3)
            slot.release()

        threads.append(threading.Thread(target=turn))
        threads[-1].start()
        eventually(lambda: slots.waiting() == expected)

    with slots.held():
        for number in range(5):
            begin("ann", number + 1)
    while threads:
        threads.pop(0).join(patient(20))
    assert served == ["ann"] * 4 + ["bob"] + ["ann"]


def test_nobody_overtakes_a_waiter_although_a_place_is_free(folder: Path) -> None:
    first, late = Slots(folder, 1, 30), Slots(folder, 1, 0)
    holder = first.acquire()
    overtakers: list[str | None] = []

    def free_and_push_in() -> None:
        holder.release()
        try:
            late.acquire().release()
            overtakers.append("taken")
        except RateLimited as error:
            overtakers.append(error.code)

    time_ = ScriptedTime(free_and_push_in)
    waiter = Slots(folder, 1, 30, clock=time_.clock, sleep=time_.sleep)
    waiter.acquire().release()
    assert overtakers == ["queue_timeout"]


def test_a_process_that_is_killed_gives_back_its_place(folder: Path, children: list["subprocess.Popen[str]"]) -> None:
    holder = child(children, HOLDER, folder, 1)
    assert holder.stdout and holder.stdout.readline() == "held\n"
    slots = Slots(folder, 1, 20)
    assert slots.busy() == 1
    os.kill(holder.pid, signal.SIGKILL)
    slots.acquire().release()


def test_a_process_that_is_killed_while_it_waits_blocks_nobody(
    folder: Path, children: list["subprocess.Popen[str]"]
) -> None:
    slots = Slots(folder, 1, 20)
    holder = slots.acquire()
    waiter = child(children, HOLDER, folder, 1)
    eventually(lambda: slots.waiting() == 1)
    os.kill(waiter.pid, signal.SIGKILL)
    waiter.wait(patient(10))
    assert slots.waiting() == 0
    holder.release()
    slots.acquire().release()


def test_three_processes_share_the_places_of_the_host(folder: Path, children: list["subprocess.Popen[str]"]) -> None:
    log = folder.parent / "log"
    workers = [child(children, WORKER, folder, 4, log, 22) for _ in range(3)]
    for worker in workers:
        assert worker.wait(patient(60)) == 0
    running, most, turns = 0, 0, 0
    for mark in log.read_text().split():
        running += 1 if mark == "+" else -1
        turns += mark == "+"
        most = max(most, running)
    assert (turns, running) == (66, 0)
    assert 1 < most <= 4
    assert Slots(folder, 4, 0).busy() == 0


def test_greenlets_wait_side_by_side_and_a_killed_one_leaves_nothing(
    folder: Path, children: list["subprocess.Popen[str]"]
) -> None:
    output, _ = child(children, GREENLETS, folder).communicate(timeout=patient(60))
    assert output.split() == ["4", "50", "0", "0", "True"]


def test_each_wait_is_told_with_its_seconds_and_its_end(folder: Path) -> None:
    told: list[tuple[float, bool]] = []
    time_ = ScriptedTime()
    slots = Slots(
        folder, 1, 5, observe=lambda waited, taken: told.append((waited, taken)), clock=time_.clock, sleep=time_.sleep
    )
    slot = slots.acquire()
    assert slot.waited == 0
    with pytest.raises(RateLimited):
        slots.acquire()
    assert told == [(0, True), (pytest.approx(5), False)]


def test_a_ticket_that_was_never_finished_is_cleared_away(folder: Path) -> None:
    Slots(folder, 1, 0)
    litter = folder / "queue" / ".0-1-1"
    litter.touch()
    os.utime(litter, (0, 0))
    fresh = folder / "queue" / ".9-1-1"
    fresh.touch()
    Slots(folder, 1, 0)
    assert not litter.exists() and fresh.exists()


def test_a_full_queue_is_a_503_at_once(folder: Path, children: list["subprocess.Popen[str]"]) -> None:
    time_ = ScriptedTime()
    slots = Slots(folder, 1, 30, most_waiting=2, clock=time_.clock, sleep=time_.sleep)
    waiters = [child(children, HOLDER, folder, 1) for _ in range(3)]
    eventually(lambda: slots.waiting() == 2)
    with pytest.raises(Overloaded) as refusal:
        slots.acquire()
    assert (refusal.value.status, refusal.value.code, refusal.value.retryable) == (503, "queue_full", False)
    assert refusal.value.retry_after == 5
    assert time_.now == 0
    assert slots.waiting() == 2
    # Those who were killed while they waited take nobody's place.
    for waiter in waiters:
        waiter.kill()
        waiter.wait(patient(10))
    slots.acquire().release()


def test_the_dead_are_not_counted_in_a_full_queue(folder: Path, children: list["subprocess.Popen[str]"]) -> None:
    slots = Slots(folder, 1, 30, most_waiting=1)
    with slots.held():
        waiter = child(children, HOLDER, folder, 1)
        eventually(lambda: slots.waiting() == 1)
        os.kill(waiter.pid, signal.SIGKILL)
        waiter.wait(patient(10))
        queued = threading.Thread(target=lambda: slots.acquire().release())
        queued.start()
        eventually(lambda: slots.waiting() == 1)
    queued.join(patient(20))
    assert slots.busy() == 0


def test_without_a_queue_whoever_finds_no_place_is_sent_away(folder: Path) -> None:
    slots = Slots(folder, 1, 30, most_waiting=0)
    with slots.held(), pytest.raises(Overloaded):
        slots.acquire()
    slots.acquire().release()


def test_those_further_back_ask_less_often(folder: Path) -> None:
    pauses: list[float] = []
    slots = Slots(folder, 1, 30)

    class Enough(BaseException):
        pass

    def note(seconds: float) -> None:
        pauses.append(seconds)
        raise Enough

    with slots.held():
        waiters = [threading.Thread(target=lambda: slots.acquire().release()) for _ in range(5)]
        for waiter in waiters:
            waiter.start()
        eventually(lambda: slots.waiting() == 5)
        with pytest.raises(Enough):
            Slots(folder, 1, 30, sleep=note).acquire()
    for waiter in waiters:
        waiter.join(patient(20))
    assert pauses == [pytest.approx(0.06)]


def test_a_process_that_hangs_at_the_head_of_the_queue_is_passed_over_until_it_goes_on(
    folder: Path, children: list["subprocess.Popen[str]"]
) -> None:
    slots = Slots(folder, 1, 20)
    holder = slots.acquire()
    hung = child(children, SLEEPER, folder)
    eventually(lambda: slots.waiting() == 1)
    os.kill(hung.pid, signal.SIGSTOP)
    try:
        holder.release()
        slots.acquire().release()
        second = slots.acquire()
    finally:
        os.kill(hung.pid, signal.SIGCONT)
    # Awake again it is first, as it came first, and takes no place that another has.
    eventually(lambda: slots.waiting() == 1)
    assert slots.busy() == 1
    second.release()
    assert hung.stdout and hung.stdout.readline() == "held\n"
    assert hung.wait(patient(20)) == 0
    assert (slots.busy(), slots.waiting()) == (0, 0)


def test_a_waiter_that_goes_on_asking_is_not_passed_over(folder: Path) -> None:
    slots, late = Slots(folder, 1, 30), Slots(folder, 1, 0)
    began = time.monotonic()
    holder = slots.acquire()
    waiter = threading.Thread(target=lambda: slots.acquire().release())
    waiter.start()
    eventually(lambda: slots.waiting() == 1)
    while time.monotonic() - began < 1.5:
        with pytest.raises(RateLimited):
            late.acquire()
    holder.release()
    waiter.join(patient(20))


def test_places_of_one_request_are_taken_all_or_none(folder: Path) -> None:
    slots = Slots(folder, 3, 0)
    one = slots.acquire()
    with pytest.raises(RateLimited):
        slots.acquire_all(3)
    assert slots.busy() == 1
    both = slots.acquire_all(2)
    assert (slots.busy(), slots.waiting()) == (3, 0)
    for place in (one, *both):
        place.release()
    assert slots.busy() == 0


def test_a_request_for_more_places_than_there_are_is_refused_at_once(folder: Path) -> None:
    time_ = ScriptedTime()
    slots = Slots(folder, 2, 30, clock=time_.clock, sleep=time_.sleep)
    with pytest.raises(InvalidRequest) as refusal:
        slots.acquire_all(3)
    assert (refusal.value.status, refusal.value.code, refusal.value.param) == (400, "invalid_value", "n")
    assert (time_.now, slots.busy(), slots.waiting()) == (0, 0, 0)


def test_a_request_of_several_turns_stands_in_the_queue_once(folder: Path) -> None:
    slots = Slots(folder, 4, 30)
    holder = slots.acquire()
    waiter = threading.Thread(target=lambda: [place.release() for place in slots.acquire_all(4)])
    waiter.start()
    eventually(lambda: slots.waiting() == 1)
    eventually(lambda: slots.busy() == 1)  # an attempt of the waiter holds more for a moment
    holder.release()
    waiter.join(patient(20))
    assert slots.busy() == 0


def test_requests_that_need_all_places_do_not_wait_for_each_other(
    folder: Path, children: list["subprocess.Popen[str]"]
) -> None:
    workers = [child(children, PAIRS, folder) for _ in range(2)]
    for worker in workers:
        assert worker.communicate(timeout=patient(60))[0].split() == ["served"] * 8
    assert Slots(folder, 2, 0).busy() == 0


def test_a_ticket_in_the_making_is_left_to_its_maker_however_old_it_looks(folder: Path) -> None:
    Slots(folder, 1, 0)
    paths = [folder / "queue" / name for name in (".made", ".left", ".fresh")]
    for path in paths:
        path.touch()
    for path in paths[:2]:
        # The file's time says nothing of a process that still holds it.
        os.utime(path, (1, 1))
    with paths[0].open() as made:
        fcntl.flock(made, fcntl.LOCK_EX)
        Slots(folder, 1, 0)
        assert [path.exists() for path in paths] == [True, False, True]
    Slots(folder, 1, 0)
    assert [path.exists() for path in paths] == [False, False, True]


def test_processes_that_start_all_the_time_cost_nobody_a_ticket(folder: Path) -> None:
    slots, started = Slots(folder, 4, 60), threading.Event()

    def start() -> None:
        while not started.is_set():
            Slots(folder, 4, 60)

    starting = threading.Thread(target=start)
    starting.start()
    try:
        for _ in range(500):
            slots.acquire().release()
    finally:
        started.set()
        starting.join()
