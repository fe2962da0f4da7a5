"""Answers that have to be JSON of a certain shape: turned back, validated, asked for again."""

import re
from dataclasses import dataclass, field
from typing import Any

from codexproxy.apis.validation_errors import missing, wrong_type, wrong_value
from codexproxy.compat.strict_schema.decode import Restorer
from codexproxy.compat.strict_schema.validate import UNJUDGED, Verdict, judge
from codexproxy.errors import UpstreamFailed
from codexproxy.protocol.pacing import Pause, TooCostly, no_pause
from codexproxy.protocol.request import Body

# Told of an answer that is delivered although it cannot be judged, or turned back, within a bounded number of steps.
UNCHECKED = "response_format:unchecked"
# Told of an answer that does not fit its schema, and is delivered since that was not to be strict.
MISMATCH = "response_format:mismatch"


@dataclass(frozen=True, slots=True)
class StructuredOutput:
    """The schema that the caller asked for.

    Attributes:
        schema: As the caller sent it.
        strict: Whether an answer outside it is a failure; else it is delivered as it is.
        restorer: Turns what the model wrote into the caller's shape; None where nothing is to turn.
        pause: Lets others run while an answer is looked through.
    """

    schema: dict[str, Any]
    strict: bool
    restorer: Restorer | None = None
    pause: Pause = no_pause
    # Answers are looked at from several sides, and each look may take long.
    _restored: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    _verdicts: dict[str, Verdict] = field(default_factory=dict, compare=False, repr=False)

    def restored(self, text: str) -> str:
        """The answer in the caller's shape."""
        if self.restorer is None:
            return text
        if text not in self._restored:
            try:
                self._restored[text] = self.restorer.text(text, self.pause)
            except TooCostly:
                self._restored[text] = text
                self._verdicts[text] = UNJUDGED
        return self._restored[text]

    def flaw(self, text: str) -> str | None:
        """What is wrong with a restored answer; None when nothing is, as far as it can be judged."""
        if text not in self._verdicts:
            self._verdicts[text] = judge(self.schema, text, self.pause)
        return self._verdicts[text].flaw

    @property
    def notes(self) -> tuple[str, ...]:
        """What the caller is told of the answers that were looked at."""
        verdicts = self._verdicts.values()
        unchecked = () if all(verdict.judged for verdict in verdicts) else (UNCHECKED,)
        misses = not self.strict and any(verdict.flaw for verdict in verdicts)
        return (*unchecked, MISMATCH) if misses else unchecked


def mismatch(flaw: str) -> UpstreamFailed:
    """The failure of an answer outside its schema."""
    return UpstreamFailed(
        f"The model's answer does not fit the JSON schema. {flaw} Please try again.",
        code="invalid_structured_output",
        retryable=False,
    )


def repair_request(body: Body, written: str, flaw: str) -> Body:
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


Json = dict[str, Any]

_KINDS = ("text", "json_object", "json_schema")
_VERBOSITIES = ("low", "medium", "high")


def read_text(fields: Json) -> Json:
    """``text`` with what the caller asked for.

    Raises:
        InvalidRequest: The format or the verbosity is malformed.
    """
    given = fields.get("text") or {}
    text = {key: value for key, value in given.items() if key in ("format", "verbosity") and value is not None}
    if "verbosity" in fields:
        text["verbosity"] = fields["verbosity"]
    if text.get("verbosity", "low") not in _VERBOSITIES:
        raise wrong_value("verbosity", text["verbosity"], _VERBOSITIES)
    path = "response_format" if "response_format" in fields else "text.format"
    format = fields.get("response_format", text.pop("format", None))
    text.pop("format", None)
    read = read_format(format, path) if format is not None else None
    return {**text, "format": read} if read else text


def read_format(format: Any, path: str) -> Json | None:
    """A format in the words of the Responses API; None for plain text.

    Raises:
        InvalidRequest: It is malformed.
    """
    if not isinstance(format, dict):
        raise wrong_type(path, "an object", format)
    kind = format.get("type")
    if kind is None:
        raise missing(f"{path}.type")
    if kind not in _KINDS:
        raise wrong_value(f"{path}.type", kind, _KINDS)
    if kind == "json_schema":
        return _schema(format, path)
    return {"type": kind} if kind == "json_object" else None


def _schema(format: Json, path: str) -> Json:
    # Nested in chat, flat in the Responses API.
    nested = format.get("json_schema")
    holder, path = (nested, f"{path}.json_schema") if nested is not None else (format, path)
    if not isinstance(holder, dict):
        raise wrong_type(path, "an object", holder)
    schema = holder.get("schema")
    if schema is None:
        raise missing(f"{path}.schema")
    if not isinstance(schema, dict):
        raise wrong_type(f"{path}.schema", "an object", schema)
    read: Json = {"type": "json_schema", "name": _name(holder.get("name")), "schema": schema}
    if isinstance(holder.get("description"), str):
        read["description"] = holder["description"]
    return {**read, "strict": holder.get("strict") is True}


def _name(name: Any) -> str:
    # Upstream takes up to 64 letters, digits, dashes and underscores.
    fitting = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] if isinstance(name, str) else ""
    return fitting or "response"
