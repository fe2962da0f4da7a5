"""An upstream whose answer has no end does not fill the memory with it."""

import pytest

from codexproxy.errors import UpstreamFailed
from codexproxy.protocol.events import Event
from codexproxy.server.non_streaming import bounded


def batch(size: int) -> list[Event]:
    """Two events of so many bytes together."""
    return [Event("response.output_text.delta", b"x" * part, b"{}") for part in (size // 2, size - size // 2)]


def test_an_answer_within_the_bound_is_collected_whole() -> None:
    said = [(0, batch(40)), (1, []), (1, batch(60))]
    assert list(bounded(said, most=100)) == said


def test_an_answer_without_an_end_is_left_at_the_bound_of_all_its_streams() -> None:
    heard = []
    endless = ((number % 2, batch(10)) for number in range(10**9))
    with pytest.raises(UpstreamFailed, match="larger than 256 MiB") as caught:
        for number, _ in bounded(endless, most=105):
            heard.append(number)
    assert caught.value.code == "upstream_truncated"
    assert len(heard) == 10
