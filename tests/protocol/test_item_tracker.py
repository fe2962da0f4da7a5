"""Events that say little, or nothing, of the item they belong to."""

from typing import Any

import pytest

from codexproxy.protocol.events import Event, item_key
from codexproxy.protocol.item_tracker import ItemTracker

Json = dict[str, Any]


def added(id: str | None = None, **place: Any) -> Json:
    item = {"type": "message", **({"id": id} if id else {})}
    return {"type": "response.output_item.added", "item": item, **place}


def delta(**place: Any) -> Json:
    return {"type": "response.output_text.delta", "delta": "x", **place}


def done(id: str | None = None, **place: Any) -> Json:
    return {**added(id, **place), "type": "response.output_item.done"}


def keys(*events: Json) -> list[Any]:
    """The place of each event once it is found."""
    places = ItemTracker()
    return [item_key(places.resolve(Event.of(event)).data) for event in events]


AGREE: dict[str, list[Json]] = {
    "index everywhere": [added(output_index=2), delta(output_index=2), done(output_index=2)],
    "index and id": [added("m", output_index=0), delta(output_index=0, item_id="m"), done("m", output_index=0)],
    "deltas with the id only": [added("m", output_index=3), delta(item_id="m"), done("m", output_index=3)],
    "deltas with nothing": [added("m", output_index=3), delta(), delta(), done("m", output_index=3)],
    "only the item has an id": [added("m"), delta(), done("m")],
    "no item was announced": [delta(), delta(), done("m", output_index=0)],
    "nothing anywhere": [added(), delta(), done()],
    "an index that is none at first": [added("m", output_index="x"), delta(output_index=0, item_id="m"), done("m")],
}


@pytest.mark.parametrize("events", AGREE.values(), ids=list(AGREE))
def test_the_events_of_one_item_have_one_place(events: list[Json]) -> None:
    one, *others = keys(*events)
    assert one is not None and set(others) == {one}


@pytest.mark.parametrize("events", AGREE.values(), ids=list(AGREE))
def test_the_item_after_it_has_another(events: list[Json]) -> None:
    one, other, same = keys(*events, delta(item_id="n"), done("n"))[-3:]
    assert other == same != one
    again = keys(*events, delta(), done())[-3:]
    assert again[1] == again[2] != again[0]


def test_parallel_items_are_kept_apart() -> None:
    places = keys(added("a", output_index=0), added("b", output_index=1), delta(item_id="a"), delta(item_id="b"))
    assert places == [0, 1, 0, 1]


def test_an_event_that_says_its_place_stays_the_object_it_was() -> None:
    event = Event.of(delta(output_index=0))
    assert ItemTracker().resolve(event) is event
    told = ItemTracker().resolve(Event.of(delta()))
    assert told.raw == Event.of(delta()).raw


def test_an_item_of_the_final_output_is_known_by_its_id() -> None:
    tracker = ItemTracker()
    tracker.resolve(Event.of(added("m", output_index=5)))
    output = [{"id": "m"}, {"id": "other"}, {"id": []}, "none"]
    assert [key for key, _ in tracker.unfinished(output)] == [5, 1, 2]


def test_items_that_are_done_are_not_in_the_rest_of_the_final_output() -> None:
    tracker = ItemTracker()
    tracker.finish(tracker.key(delta(output_index=0)), {"id": "a"})
    tracker.finish(1, {})
    output = [{"id": "b"}, {"id": "x"}, {"id": "a"}, {"id": "c"}]
    assert [(key, item["id"]) for key, item in tracker.unfinished(output)] == [(3, "c")]
    assert list(tracker.unfinished(output[:2])) == list(tracker.unfinished("none")) == []
