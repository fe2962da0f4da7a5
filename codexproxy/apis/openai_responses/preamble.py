"""The beginning of a stream for clients that take nothing before ``response.created``.

The OpenAI SDKs' stream helper raises at anything else, while upstream may tell
of limits or keep the line alive first
(docs/reference/stream.md#events, docs/reference/stream.md#refusals-inside-a-200).
"""

from codexproxy.apis.openai_responses.response_builder import Envelope
from codexproxy.errors import UpstreamFailed
from codexproxy.protocol.events import ERROR, Batch, Event

CREATED = "response.created"


class Opening:
    """Sees to it that a stream begins as its client needs it.

    Args:
        envelope: Dresses the Response object of a made-up beginning.

    Attributes:
        over: Whether the stream has begun; nothing is to be done any more then.
    """

    def __init__(self, envelope: Envelope) -> None:
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
