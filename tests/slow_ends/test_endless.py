"""An upstream whose answer has no end does not fill the memory with it."""

import pytest

from codexproxy.errors import UpstreamFailed
from codexproxy.protocol.events import Event
from codexproxy.server.non_streaming import CollectingSink


def batch(size: int) -> list[Event]:
    """Two events of so many bytes together."""
    return [Event("response.output_text.delta", b"x" * part, b"{}") for part in (size // 2, size - size // 2)]


def test_an_answer_within_the_bound_is_collected_whole() -> None:
    sink = CollectingSink(2, most=100)
    for number, size in ((0, 40), (1, 60)):
        assert sink.take(number, batch(size)) == b""
    assert len(sink.responses()) == 2


def test_an_answer_without_an_end_is_left_at_the_bound_of_all_its_streams() -> None:
    taken = 0
    sink = CollectingSink(2, most=105)
    with pytest.raises(UpstreamFailed, match="larger than 256 MiB") as caught:
        while True:
            sink.take(taken % 2, batch(10))
            taken += 1
    assert caught.value.code == "upstream_truncated"
    assert taken == 10
