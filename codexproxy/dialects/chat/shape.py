"""Answers that have to be JSON of a certain shape: turned back, validated, asked for again."""

from dataclasses import dataclass
from typing import Any

from codexproxy.dialects.conformance import flaw_of
from codexproxy.errors import UpstreamFailed
from codexproxy.turns.restoring import Restorer
from codexproxy.turns.turn import Body


@dataclass(frozen=True, slots=True)
class Shape:
    """The schema that the caller asked for.

    Attributes:
        schema: As the caller sent it.
        strict: Whether an answer outside it is a failure; else it is delivered as it is.
        restorer: Turns what the model wrote into the caller's shape; None where nothing is to turn.
    """

    schema: dict[str, Any]
    strict: bool
    restorer: Restorer | None = None

    def restored(self, text: str) -> str:
        """The answer in the caller's shape."""
        return self.restorer.text(text) if self.restorer else text

    def flaw(self, text: str) -> str | None:
        """What is wrong with a restored answer; None when nothing is."""
        return flaw_of(self.schema, text)


def mismatch(flaw: str) -> UpstreamFailed:
    """The failure of an answer outside its schema."""
    return UpstreamFailed(
        f"The model's answer does not fit the JSON schema. {flaw} Please try again.",
        code="invalid_structured_output",
        retryable=False,
    )


def second_try(body: Body, written: str, flaw: str) -> Body:
    """The body of one further turn that asks for the answer again.

    Args:
        body: The body of the first turn, as it was sent.
        written: What the model wrote.
        flaw: What is wrong with it.
    """
    demand = f"This answer does not fit the JSON schema. {flaw} Answer again, with nothing but JSON that fits it."
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": written}]}
    asked = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": demand}]}
    return {**body, "input": [*body["input"], said, asked]}
