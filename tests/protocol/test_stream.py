"""A stream ends exactly once, and never silently."""

import pytest

from codexproxy.errors import UpstreamFailed
from codexproxy.protocol.events import Batch, Event
from codexproxy.protocol.numbers import usage_of
from codexproxy.protocol.stream import LINGER, EventStream


class ListedSource:
    """A source that gives the batches of a list, then its end."""

    def __init__(self, *batches: Batch) -> None:
        self.batches = list(batches)
        self.patience: list[float] = []
        self.closed = 0

    def read(self, patience: float) -> Batch | None:
        self.patience.append(patience)
        return self.batches.pop(0) if self.batches else None

    def close(self) -> None:
        self.closed += 1


def events(*types: str) -> Batch:
    return [Event.of({"type": type, "response": {"usage": {"output_tokens": 3}}}) for type in types]


def types_of(stream: EventStream) -> list[list[str]]:
    return [[event.type for event in batch] for batch in stream]


def test_batches_come_as_they_were_read() -> None:
    stream = EventStream(ListedSource(events("response.created", "a"), [], events("b", "response.completed")))
    assert types_of(stream) == [["response.created", "a"], [], ["b", "response.completed"]]


def test_nothing_is_read_behind_the_terminal_event() -> None:
    source = ListedSource(events("response.completed", "ghost"), events("ghost"))
    assert types_of(EventStream(source)) == [["response.completed"]]
    assert len(source.patience) == 1


@pytest.mark.parametrize("last", [events("a"), []])
def test_a_stream_without_a_terminal_event_is_an_error(last: Batch) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        types_of(EventStream(ListedSource(last)))
    assert caught.value.code == "upstream_truncated"


def test_priming_holds_what_came_before_the_first_meaningful_event() -> None:
    source = ListedSource(events("response.created"), [], events("response.in_progress"), events("a"), events("b"))
    stream = EventStream(source)
    assert [event.type for event in stream.prime()] == ["response.created", "response.in_progress", "a"]
    assert len(source.batches) == 1
    source.batches.append(events("response.completed"))
    assert types_of(stream) == [["response.created", "response.in_progress", "a"], ["b"], ["response.completed"]]


def test_priming_a_stream_that_ends_before_it_begins_is_an_error() -> None:
    with pytest.raises(UpstreamFailed):
        EventStream(ListedSource(events("response.created"))).prime()


def test_a_failure_that_follows_an_error_event_is_passed_on() -> None:
    source = ListedSource(events("response.created", "error"), events("response.failed"), events("ghost"))
    stream = EventStream(source, patience=15)
    assert types_of(stream) == [["response.created", "error"], ["response.failed"]]
    assert source.patience == [15, LINGER]
    assert stream.terminal is not None and stream.terminal.type == "response.failed"


@pytest.mark.parametrize("rest", [[[]], []])
def test_a_bare_error_event_ends_the_stream_after_a_short_wait_or_at_the_end(rest: list[Batch]) -> None:
    stream = EventStream(ListedSource(events("error"), *rest))
    assert types_of(stream)[0] == ["error"]
    assert stream.terminal is not None and stream.terminal.type == "error"


def test_closing_twice_closes_the_source_and_harms_nobody() -> None:
    source = ListedSource()
    stream = EventStream(source)
    stream.close()
    stream.close()
    assert source.closed >= 1


def test_usage_is_read_from_the_terminal_event_only_where_there_is_one() -> None:
    assert usage_of(events("response.completed")[0]) == {"output_tokens": 3}
    assert usage_of(None) == {}
    assert usage_of(Event.of({"type": "error"})) == {}
    assert usage_of(Event.of({"type": "response.completed", "response": None})) == {}
