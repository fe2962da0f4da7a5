"""Non-streaming answers: collect the streams, and ask once more where an answer is empty or does not fit its schema.

Nothing has been sent to the caller yet, so an answer that holds nothing, or
whose JSON does not fit its schema, may be asked for once more.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from codexproxy.apis.base import Api
from codexproxy.errors import ProxyError, UpstreamFailed
from codexproxy.protocol.aggregate import ResponseAggregator
from codexproxy.protocol.events import Batch
from codexproxy.protocol.numbers import whole
from codexproxy.protocol.request import Turn
from codexproxy.server.running_turn import RunningTurn
from codexproxy.server.stream_runner import StreamRunner
from codexproxy.server.upstream_call import UpstreamCall

REPAIRED = "response_format:repaired"
# An answer that is collected before it is sent stands in memory; pictures and all, none comes near this.
MOST_BYTES = 256 * 2**20

Json = dict[str, Any]
Open = Callable[[Sequence[Turn]], UpstreamCall]


class CollectingSink:
    """Collects answers to their end; failures are raised, since nothing has left yet.

    Args:
        count: How many answers there are.
        most: The most bytes of events that are collected, of all answers together.
    """

    def __init__(self, count: int, most: int = MOST_BYTES) -> None:
        self._aggregators = [ResponseAggregator() for _ in range(count)]
        self._room = most

    def take(self, number: int, batch: Batch) -> bytes:
        """Adds events to their answer.

        Raises:
            UpstreamFailed: ``upstream_truncated``; upstream goes on and on.
        """
        self._room -= sum(len(event.raw) for event in batch)
        if self._room < 0:
            raise UpstreamFailed(
                "Upstream's answer is larger than 256 MiB. Please ask again, or request a stream.",
                code="upstream_truncated",
                retryable=False,
            )
        self._aggregators[number].add(batch)
        return b""

    def silence(self) -> bytes:
        """Nothing: the client waits for the whole answer."""
        return b""

    def fail(self, number: int, error: ProxyError) -> bytes:
        """Raises the failure."""
        raise error

    def end(self) -> bytes:
        """Nothing."""
        return b""

    def responses(self) -> list[Json]:
        """The Response object of each answer."""
        return [aggregator.response() for aggregator in self._aggregators]


def collect(call: UpstreamCall, count: int, running: RunningTurn) -> list[Json]:
    """The Response objects of all streams of a call, read to their end.

    Raises:
        ProxyError: One of them failed.
    """
    sink = CollectingSink(count)
    StreamRunner(call, sink, running).run()
    # The turns have ended, and another try for some of them needs their places.
    call.close()
    return sink.responses()


def collect_answer(api: Api, turns: Sequence[Turn], open: Open, running: RunningTurn) -> Json:
    """The final JSON object of a request.

    Args:
        api: Its API format.
        turns: Its turns, one per answer.
        open: Opens turns upstream; what it opens is freed with the request.
        running: The turn; told how it ends and what was adapted.

    Raises:
        ProxyError: A turn failed, or its answer is unusable after a second try, too.
    """

    def asked(turns: Sequence[Turn]) -> list[Json]:
        return collect(open(turns), len(turns), running)

    def repaired(responses: list[Json]) -> list[Json]:
        bodies = [api.repair_request(turn, response) for turn, response in zip(turns, responses, strict=True)]
        again = {number: replace(turns[number], body=body) for number, body in enumerate(bodies) if body is not None}
        if again:
            for number, better in zip(again, asked(list(again.values())), strict=True):
                responses[number] = {**better, "usage": _sum(responses[number].get("usage"), better.get("usage"))}
            running.planned = turns[0].with_notes(adapted=(REPAIRED,))
        return responses

    def completed(responses: list[Json]) -> Json:
        body = api.complete(turns[0], responses)
        running.planned = (running.planned or turns[0]).with_notes(adapted=api.notes(turns[0]))
        return body

    # What cannot even be opened was tried twice already (upstream/router/router.py).
    responses = asked(turns)
    try:
        return completed(repaired(responses))
    except UpstreamFailed as error:
        if error.code != "empty_response":
            raise
    return completed(asked(turns))


def _sum(one: Any, other: Any) -> Any:
    """Two usages as one; the later one counts where one of both is not a number."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: _sum(one.get(key), other.get(key)) for key in {**one, **other}}
    if isinstance(one, int | float) and isinstance(other, int | float):
        return whole(one) + whole(other)
    return one if other is None else other
