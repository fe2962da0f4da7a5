import threading

import pytest

from codexproxy.errors import UpstreamFailed
from codexproxy.login.singleflight import SingleFlight
from tests.patience import patient


def test_those_who_come_while_it_flies_join_and_the_next_one_starts_anew() -> None:
    flights: SingleFlight[int] = SingleFlight()
    release = threading.Event()
    first, started = flights.join(lambda: int(release.wait(patient(10))))
    second, joined = flights.join(lambda: 2)
    assert (started, joined) == (True, False)
    assert second is first
    assert not flights.settle(0.01)
    release.set()
    assert flights.settle(10)
    assert first.wait(patient(10))
    assert first.result() == 1
    third, started = flights.join(lambda: 3)
    assert started
    assert third.wait(patient(10))
    assert third.result() == 3


def test_a_failure_reaches_everybody_who_waits() -> None:
    flights: SingleFlight[int] = SingleFlight()

    def fail() -> int:
        raise UpstreamFailed("away")

    flight, _ = flights.join(fail)
    assert flight.wait(patient(10))
    for _ in range(2):
        with pytest.raises(UpstreamFailed, match="away"):
            flight.result()


def test_a_bug_in_the_work_is_logged_wakes_those_who_wait_and_blocks_nobody(caplog: pytest.LogCaptureFixture) -> None:
    flights: SingleFlight[int] = SingleFlight()

    def stumble() -> int:
        raise ZeroDivisionError

    flight, _ = flights.join(stumble)
    assert flight.wait(patient(10))
    with pytest.raises(UpstreamFailed, match="interrupted"):
        flight.result()
    assert "ZeroDivisionError" in caplog.text
    assert flights.join(lambda: 1)[1]
    assert flights.settle(10)
