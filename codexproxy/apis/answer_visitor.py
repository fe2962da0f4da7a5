"""What an answer is made of, told to a sink in the order a client should see it."""

from dataclasses import dataclass
from typing import Any, Protocol

from codexproxy.errors import ProxyError, UpstreamFailed

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that the client has to answer.

    Attributes:
        slot: Its place among the calls of this answer, from 0.
        id: The call id that its output must name.
        name: Name of the tool as upstream knows it.
        custom: Whether its input is free text instead of JSON arguments.
    """

    slot: int
    id: str
    name: str
    custom: bool


@dataclass(frozen=True, slots=True)
class Ending:
    """How an answer ended.

    Attributes:
        reason: ``complete``, ``length`` or ``filtered``.
        usage: Upstream's usage object, ``{}`` where it sent none.
        response: The terminal event's Response object.
    """

    reason: str
    usage: Data
    response: Data


class Sink(Protocol):
    """What receives an answer."""

    def message(self) -> None:
        """A further message with text begins; called before that text."""

    def text(self, delta: str) -> None:
        """More text of the current message."""

    def refusal(self, delta: str) -> None:
        """More of the words with which the model refuses."""

    def reasoning(self, delta: str) -> None:
        """More of what the model says about its thinking."""

    def citation(self, citation: Data, start: int) -> None:
        """A source of a text; ``start`` counts the characters of all texts before that text's part."""

    def call(self, call: Call) -> None:
        """A tool call begins."""

    def fragment(self, call: Call, delta: str) -> None:
        """More of a call's arguments or input."""

    def end(self, ending: Ending) -> None:
        """The answer is complete, or as complete as it will be."""

    def failed(self, error: ProxyError) -> None:
        """Upstream reported a failure in the middle of the answer."""


def nothing_said() -> UpstreamFailed:
    """The failure of an answer that holds nothing at all (docs/reference/clients.md#empty-answers)."""
    return UpstreamFailed("Upstream finished without an answer. Please try again.", code="empty_response")
