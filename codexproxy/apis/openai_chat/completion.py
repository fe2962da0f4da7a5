"""The final ``chat.completion`` object, from folded Response objects."""

from typing import Any

from codexproxy.apis.event_dispatcher import EventDispatcher
from codexproxy.apis.openai_chat.options import ChatStyle, tier_of, total, url_citation, usage_of
from codexproxy.apis.openai_chat.render import finish_of
from codexproxy.apis.openai_chat.structured_output import StructuredOutput, mismatch
from codexproxy.apis.visitor import Call, Finish
from codexproxy.errors import ProxyError


class CompletionBuilder:
    """A sink that keeps an answer as one message."""

    def __init__(self, wording: ChatStyle, shape: StructuredOutput | None = None) -> None:
        self._wording = wording
        self._shape = shape
        self._content: list[str] = []
        self._refusal: list[str] = []
        self._reasoning: list[str] = []
        self._citations: list[dict[str, Any]] = []
        self._calls: list[tuple[Call, list[str]]] = []
        self._gap = self._thinking = False
        self._own = 0
        self.ending = Finish("complete", {}, {})

    # -- AnswerVisitor -----------------------------------------------------------------------

    def message(self) -> None:
        self._gap = True

    def text(self, delta: str) -> None:
        self._stop_thinking()
        if self._gap:
            self._add("\n\n")
        self._gap = False
        self._content.append(delta)

    def refusal(self, delta: str) -> None:
        self._stop_thinking()
        self._refusal.append(delta)

    def reasoning(self, delta: str) -> None:
        style = self._wording.reasoning
        if style in ("reasoning_content", "o3"):
            self._reasoning.append(delta)
        elif style == "think":
            self._think(delta)

    def _think(self, delta: str) -> None:
        if not self._thinking:
            self._thinking = True
            self._add("<think>\n")
        self._add(delta)

    def citation(self, citation: dict[str, Any], start: int) -> None:
        told = url_citation(citation, start + self._own)
        if told is not None:
            self._citations.append(told)

    def call(self, call: Call) -> None:
        self._stop_thinking()
        self._calls.append((call, []))

    def fragment(self, call: Call, delta: str) -> None:
        self._calls[call.slot][1].append(delta)

    def end(self, ending: Finish) -> None:
        self._stop_thinking()
        self.ending = ending

    def failed(self, error: ProxyError) -> None:
        raise error

    # -- the message ------------------------------------------------------------------

    def choice(self, index: int) -> dict[str, Any]:
        """The answer as one entry of ``choices``."""
        return {
            "index": index,
            "message": self.message_object(),
            "logprobs": None,
            "finish_reason": finish_of(self.ending.reason, bool(self._calls), self._wording),
        }

    @property
    def content(self) -> str:
        """The text of the answer, in the caller's shape."""
        written = "".join(self._content)
        return self._shape.restored(written) if self._shape else written

    @property
    def flaw(self) -> str | None:
        """What is wrong with an answer that has to fit a schema."""
        whole = self.written and self.ending.reason == "complete" and not (self._calls or self._refusal)
        return self._shape.flaw(self.content) if self._shape and whole else None

    def message_object(self) -> dict[str, Any]:
        """The answer as an assistant message."""
        content, refusal = self.content, "".join(self._refusal)
        told: dict[str, Any] = {
            "role": "assistant",
            "content": None if not content and (self._calls or refusal) else content,
            "refusal": refusal or None,
        }
        return told | self._reasoning_fields() | self._citation_fields() | self._call_fields()

    def _reasoning_fields(self) -> dict[str, Any]:
        thought = "".join(self._reasoning)
        if not thought:
            return {}
        if self._wording.reasoning == "o3":
            return {"reasoning": {"content": [{"type": "text", "text": thought}]}}
        return {"reasoning_content": thought}

    def _citation_fields(self) -> dict[str, Any]:
        return {"annotations": self._citations} if self._citations else {}

    def _call_fields(self) -> dict[str, Any]:
        told = [self._told(call, "".join(pieces)) for call, pieces in self._calls]
        if not told:
            return {}
        return {"function_call": told[0]["function"]} if self._wording.legacy else {"tool_calls": told}

    @property
    def written(self) -> str:
        """The text as the model wrote it."""
        return "".join(self._content)

    def _told(self, call: Call, written: str) -> dict[str, Any]:
        name = self._wording.name_of(call)
        if self._wording.is_custom(call) and not self._wording.legacy:
            return {"id": call.id, "type": "custom", "custom": {"name": name, "input": written}}
        return {"id": call.id, "type": "function", "function": {"name": name, "arguments": written}}

    def _stop_thinking(self) -> None:
        if self._thinking:
            self._thinking = False
            self._add("\n</think>\n\n")

    def _add(self, words: str) -> None:
        self._content.append(words)
        self._own += len(words)


def completion(
    wording: ChatStyle, responses: list[dict[str, Any]], shape: StructuredOutput | None = None
) -> dict[str, Any]:
    """The final object.

    Args:
        wording: How this turn's answers look.
        responses: One folded Response object per answer.
        shape: What the answers have to fit.

    Raises:
        ProxyError: A response failed, holds nothing at all, or does not fit its schema.
    """
    read = [collected(wording, response, shape) for response in responses]
    flaws = [collector.flaw for collector in read] if shape and shape.strict else []
    for flaw in filter(None, flaws):
        raise mismatch(flaw)
    told: dict[str, Any] = {
        "id": wording.id,
        "object": "chat.completion",
        "created": wording.created,
        "model": wording.model,
        "choices": [collector.choice(index) for index, collector in enumerate(read)],
    }
    usage = total([usage_of(collector.ending.usage) for collector in read])
    extras = {"usage": usage, "service_tier": tier_of(responses[0]), "metadata": wording.metadata}
    return told | {key: value for key, value in extras.items() if value}


def collected(wording: ChatStyle, response: dict[str, Any], shape: StructuredOutput | None) -> CompletionBuilder:
    """One answer, read from its Response object.

    Raises:
        ProxyError: The response failed, or holds nothing at all.
    """
    collector = CompletionBuilder(wording, shape)
    reader = EventDispatcher(collector, reasoning=wording.reasoning != "none", asides=wording.json_mode)
    reader.finish(response)
    return collector
