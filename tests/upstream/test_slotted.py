"""The places of one request's turns: taken together, kept over a second try, freed with the request."""

import threading
import time

import pytest

from codexproxy.errors import RateLimited
from codexproxy.protocol.request import Turn
from codexproxy.upstream.provider import Provider, RequestSlots, share_slots
from tests.fakes.backends import ScriptedBackend, answer
from tests.patience import patient

TURN = Turn("m", {"model": "m", "input": []}, count=3)


class CountedPlaces:
    """Places without a queue; taking them gives other threads a chance to come as well."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.asked: list[int] = []

    def acquire(self, *, owner: str = "") -> "CountedPlace":
        return self.acquire_all(1)[0]

    def acquire_all(self, count: int, *, owner: str = "") -> "list[CountedPlace]":
        self.asked.append(count)
        time.sleep(0.01)
        if count > self.free:
            raise RateLimited("All places are taken.", code="queue_timeout")
        self.free -= count
        return [CountedPlace(self) for _ in range(count)]

    def waiting(self) -> int:
        return 0


class CountedPlace:
    """One of them."""

    def __init__(self, places: CountedPlaces) -> None:
        self._places = places

    def release(self) -> None:
        self._places.free += 1


def test_the_turns_of_a_request_ask_for_their_places_once() -> None:
    places, party, taken = CountedPlaces(3), RequestSlots(3), []
    threads = [threading.Thread(target=lambda: taken.append(party.acquire(places))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patient(10))
    assert (places.asked, places.free, len(taken)) == ([3], 0, 3)
    for place in taken:
        place.release()
        place.release()
    assert places.free == 0, "a second try needs the places"
    party.close()
    assert places.free == 3


def test_a_turn_that_is_tried_again_waits_for_no_place() -> None:
    places, party = CountedPlaces(2), RequestSlots(2)
    first, second = party.acquire(places), party.acquire(places)
    first.release()
    again = party.acquire(places)
    assert places.asked == [2]
    party.close()
    second.release()
    again.release()
    assert places.free == 2


def test_places_that_cannot_be_had_are_asked_for_once_and_all_turns_are_told() -> None:
    places, party = CountedPlaces(1), RequestSlots(2)
    for _ in range(2):
        with pytest.raises(RateLimited):
            party.acquire(places)
    assert (places.asked, places.free) == ([2], 1)


def test_the_places_of_a_request_that_ended_meanwhile_are_free() -> None:
    places, party = CountedPlaces(3), RequestSlots(3)
    taking = threading.Thread(target=lambda: party.acquire(places).release())
    taking.start()
    while not places.asked:
        time.sleep(0.001)
    party.close()
    taking.join(patient(10))
    assert places.free == 3


def test_a_provider_with_a_queue_opens_the_turns_of_a_request_in_slots_they_share() -> None:
    places = CountedPlaces(3)
    provider = Provider(ScriptedBackend("main", answer(), answer(), answer()), queue=places)
    turns, party = share_slots([TURN] * 3)
    streams = [provider.open(turn) for turn in turns]
    assert (places.asked, places.free) == ([3], 0)
    for stream in streams:
        stream.close()
    assert party is not None
    party.close()
    assert places.free == 3
    assert share_slots([TURN]) == ([TURN], None)
