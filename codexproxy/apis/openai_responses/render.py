"""Upstream's frames on their way to a Responses client.

Frames are forwarded as they came. Only those that carry a Response object are
looked into, and only the ones that say otherwise than the caller asked are
written anew: another model name, ``previous_response_id``, ``metadata`` and
``store`` where the caller sent them, instructions and names that are not his, ``response.done`` for what is
``response.completed`` to every client (docs/reference/codex-cli.md#what-it-needs-in-a-stream).

The backend may leave the final ``output`` empty (docs/reference/stream.md#empty-final-output). The items were
streamed all the same, and clients that read frames have them, so for them the
frame stays as it came. The OpenAI SDKs hand out the final object instead: for
these clients, and only these, it is filled from the items.

A completed answer that holds nothing is a failure, as in every other format.
"""

from operator import attrgetter
from typing import Any

from codexproxy.apis.openai_responses.response_builder import ResponseBuilder
from codexproxy.apis.visitor import empty_answer
from codexproxy.errors import ProxyError, UpstreamFailed
from codexproxy.protocol.aggregate import ResponseAggregator, is_missing_output
from codexproxy.protocol.error_mapping import error_object, impersonal_error, text_of
from codexproxy.protocol.events import COMPLETED, ERROR, FAILED, INCOMPLETE, RATE_LIMITS, Batch, Event
from codexproxy.protocol.item_tracker import ADDED
from codexproxy.protocol.item_tracker import DONE as DONE_ITEM

CREATED = "response.created"


class Preamble:
    """Sees to it that a stream begins as its client needs it.

    Args:
        envelope: Dresses the Response object of a made-up beginning.

    Attributes:
        over: Whether the stream has begun; nothing is to be done any more then.
    """

    def __init__(self, envelope: ResponseBuilder) -> None:
        self.over = False
        self._envelope = envelope

    def passed(self, batch: Batch) -> Batch:
        """The events to pass on: without what stands aside, and with a beginning where upstream sent none."""
        for position, event in enumerate(batch):
            if _stands_aside(event.type):
                continue
            self.over = True
            rest = batch[position:]
            return rest if event.type in (CREATED, ERROR) else [self._created(event), *rest]
        return []

    def _created(self, event: Event) -> Event:
        try:
            data = event.data
        except UpstreamFailed:
            data = {}
        response, number = data.get("response"), data.get("sequence_number")
        return Event.of(
            {
                "type": CREATED,
                "sequence_number": max(number - 1, 0) if isinstance(number, int) else 0,
                "response": self._envelope.begun(response if isinstance(response, dict) else {}),
            }
        )


def _stands_aside(type: str) -> bool:
    return type == "response.metadata" or not (type.startswith("response.") or type == ERROR)


DONE = "response.done"

_ENDS = frozenset({COMPLETED, INCOMPLETE, FAILED, DONE})
_CARRIERS = frozenset({"response.created", "response.queued", "response.in_progress"}) | _ENDS
_WATCHED = _CARRIERS | {ERROR}
# Events that tell of the account, and those that name a tool.
_ACCOUNT = frozenset({RATE_LIMITS})
_NAMING = frozenset({ADDED, DONE_ITEM, "response.function_call_arguments.done"})

_DONE_TYPES = {"incomplete": INCOMPLETE, "cancelled": INCOMPLETE, "failed": FAILED}

_type = attrgetter("type")
_raw = attrgetter("raw")


class ResponsesRenderer:
    """Forwards one stream.

    Args:
        envelope: Dresses the Response objects on the way.
        fills_output: Whether an empty final ``output`` is filled from the items.
        opening: Sees to the first frames; None where they pass like all others.
    """

    def __init__(
        self, envelope: ResponseBuilder, *, fills_output: bool = False, opening: Preamble | None = None
    ) -> None:
        self._envelope = envelope
        self._fills = fills_output
        self._opening = opening
        self._aggregator = ResponseAggregator()
        # Frames of the batch under way: those before one that is broken leave with its failure.
        self._out: list[bytes] = []
        self._last: Event | None = None
        self._seen = 0
        # Whether the answer said anything yet, be it a single delta.
        self._says = False
        self._watched = _WATCHED | (_NAMING if envelope.renames else set()) | (_ACCOUNT if envelope.hides else set())
        self._response: dict[str, Any] = {}
        self._error: Event | None = None
        self._ended = False

    def render(self, batch: Batch) -> bytes:
        """The frames of a batch as one write.

        Raises:
            UpstreamFailed: A frame that carries a Response object is not JSON, or the answer holds nothing.
        """
        if self._opening and not self._opening.over:
            batch = self._opening.passed(batch)
        if not batch:
            return b""
        self._seen += len(batch)
        self._last = batch[-1]
        if self._fills or not self._says:
            self._aggregator.defer(batch)
            self._says = self._says or any(event.type.endswith(".delta") for event in batch)
        if self._watched.isdisjoint(map(_type, batch)):
            return b"".join(map(_raw, batch))
        for event in batch:
            self._out.append(self._frame(event))
        return self._written()

    def fail(self, error: ProxyError) -> bytes:
        """What came before, an ``error`` event, which SDKs raise, then ``response.failed``, which the Codex CLI needs.

        A bare ``error`` of upstream's was forwarded already and is only
        completed, in upstream's own words, since the CLI acts on its codes
        and passes over bare errors
        (docs/reference/codex-cli.md#what-it-needs-in-a-stream, docs/reference/stream.md#failure-codes).
        """
        before = self._written()
        if self._ended:
            return before
        self._ended = True
        number = self._next_number()
        details = impersonal_error(error_object(_data(self._error))) or error.as_dict()
        # A code is a string in every schema, whatever upstream has there.
        code = text_of(details.get("code")) or text_of(details.get("type")) or error.code
        reason = {"code": code, "message": text_of(details.get("message")) or error.told}
        failed = {"response": self._envelope.failed(self._response, reason)}
        if self._error:
            return before + _written(FAILED, number, failed)
        flat = {"code": error.code, "message": error.told, "param": error.param}
        told = _written(ERROR, number, {**flat, "error": details})
        return before + told + _written(FAILED, number + 1, failed)

    def _written(self) -> bytes:
        frames = b"".join(self._out)
        self._out.clear()
        return frames

    def _frame(self, event: Event) -> bytes:
        if event.type in _CARRIERS:
            return self._carrier(event)
        if event.type == ERROR:
            self._error = event
        return (self._envelope.event(event) if event.type in self._watched else event).raw

    def _carrier(self, event: Event) -> bytes:
        response = event.data.get("response")
        if not isinstance(response, dict):
            return event.raw
        type = event.type if event.type != DONE else _DONE_TYPES.get(str(response.get("status")), COMPLETED)
        if type == COMPLETED and not self._says and self._is_lost():
            raise empty_answer()
        changes = self._envelope.changes(response)
        if event.type in _ENDS:
            self._ended = True
            changes |= self._final_changes(response)
        else:
            self._response = response
        if type == event.type and not changes:
            return event.raw
        return Event.of({**event.data, "type": type, "response": {**response, **changes}}).raw

    def _is_lost(self) -> bool:
        try:
            return is_missing_output(self._aggregator.response())
        except UpstreamFailed:
            # A frame that is no JSON was forwarded as it came and may say anything.
            return False

    def _final_changes(self, response: dict[str, Any]) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        # The Codex CLI cannot end a turn whose last object has no id.
        if not response.get("id"):
            changes["id"] = self._envelope.whole(self._response)["id"]
        output = self._told() if self._fills and not response.get("output") else []
        return {**changes, "output": output, **self._envelope.changes({"output": output})} if output else changes

    def _told(self) -> list[Any]:
        try:
            told: list[Any] = self._aggregator.response()["output"]
        except UpstreamFailed:
            # A frame that is no JSON was forwarded as it came and tells nothing.
            return []
        return told

    def _next_number(self) -> int:
        number = _data(self._last).get("sequence_number")
        return number + 1 if isinstance(number, int) else self._seen


def _data(event: Event | None) -> dict[str, Any]:
    # A frame that is no JSON was forwarded as it came and tells nothing.
    try:
        return event.data if event else {}
    except UpstreamFailed:
        return {}


def _written(type: str, number: int, fields: dict[str, Any]) -> bytes:
    return Event.of({"type": type, "sequence_number": number, **fields}).raw
