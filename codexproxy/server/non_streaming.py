"""Whole answers: streams folded to their end, and one more try where an answer is none.

Nothing has been sent to the caller yet, so an answer that holds nothing, or
whose JSON does not fit its schema, may be asked for once more.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from codexproxy.apis.base import Api
from codexproxy.errors import UpstreamFailed
from codexproxy.protocol.aggregate import Fold
from codexproxy.protocol.error_mapping import failure_of
from codexproxy.protocol.events import Batch
from codexproxy.protocol.numbers import whole
from codexproxy.protocol.request import Turn
from codexproxy.server.request_context import RequestContext
from codexproxy.server.stream_merge import merge
from codexproxy.server.upstream_call import UpstreamCall

REPAIRED = "response_format:repaired"
# An answer that is collected before it is sent stands in memory; pictures and all, none comes near this.
MOST_BYTES = 256 * 2**20

Json = dict[str, Any]
Reopen = Callable[[Sequence[Turn]], UpstreamCall]


def whole_answer(api: Api, turns: Sequence[Turn], call: UpstreamCall, reopen: Reopen, context: RequestContext) -> Json:
    """The final JSON object of a request.

    Args:
        api: Its API format.
        turns: Its turns, one per answer.
        call: Their streams, under way.
        reopen: Opens turns once more; what it opens is freed with the request.
        requestlog: Told who answered, and what that took.

    Raises:
        ProxyError: A turn failed, or its answer is none after a second try, too.
    """
    # What cannot even be opened was tried twice already (upstream/router/router.py).
    responses = folded(call, context)
    try:
        responses = _repaired(api, turns, responses, reopen, context)
        return _completed(api, turns[0], responses, context)
    except UpstreamFailed as error:
        if error.code != "empty_response":
            raise
    return _completed(api, turns[0], folded(reopen(turns), context), context)


def _completed(api: Api, turn: Turn, responses: list[Json], context: RequestContext) -> Json:
    body = api.complete(turn, responses)
    context.turn = (context.turn or turn).with_notes(adapted=api.notes(turn))
    return body


def folded(call: UpstreamCall, context: RequestContext) -> list[Json]:
    """The Response objects of all streams, read to their end.

    Raises:
        ProxyError: One of them failed.
    """
    streams = call.streams()
    context.answered_by(streams)
    folds = [Fold() for _ in streams]
    for number, batch in bounded(merge(streams)):
        folds[number].add(batch)
    context.ended(streams)
    # The turns have ended, and whoever asks again for some of them needs their places.
    call.close()
    for stream in streams:
        failure = failure_of(stream.terminal) if stream.terminal else None
        if failure is not None:
            raise failure
    return [fold.response() for fold in folds]


def bounded(batches: Iterable[tuple[int, Batch]], most: int = MOST_BYTES) -> Iterator[tuple[int, Batch]]:
    """The batches of a request's streams, as long as their events are within a bound.

    Args:
        batches: Numbers of streams, each with what it said.
        most: Bytes of all events together.

    Raises:
        UpstreamFailed: ``upstream_truncated``; upstream goes on and on.
    """
    for number, batch in batches:
        most -= sum(len(event.raw) for event in batch)
        if most < 0:
            raise UpstreamFailed(
                "Upstream's answer is larger than 256 MiB. Please ask again, or request a stream.",
                code="upstream_truncated",
                retryable=False,
            )
        yield number, batch


def _repaired(
    api: Api, turns: Sequence[Turn], responses: list[Json], reopen: Reopen, context: RequestContext
) -> list[Json]:
    bodies = [api.repair_request(turn, response) for turn, response in zip(turns, responses, strict=True)]
    again = [number for number, body in enumerate(bodies) if body is not None]
    if not again:
        return responses
    retried = [replace(turns[number], body=bodies[number] or {}) for number in again]
    for number, better in zip(again, folded(reopen(retried), context), strict=True):
        responses[number] = {**better, "usage": _sum(responses[number].get("usage"), better.get("usage"))}
    context.turn = turns[0].with_notes(adapted=(REPAIRED,))
    return responses


def _sum(one: Any, other: Any) -> Any:
    """Two usages as one; whatever is no number on both sides is taken from the later."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: _sum(one.get(key), other.get(key)) for key in {**one, **other}}
    if isinstance(one, int | float) and isinstance(other, int | float):
        return whole(one) + whole(other)
    return one if other is None else other
