"""How one turn's answers are worded: ids, names, tool calls, reasoning, citations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codexproxy.apis.openai_chat.structured_output import StructuredOutput
from codexproxy.apis.visitor import Call
from codexproxy.planning.client_quirks import GRAMMAR_TOOLS_AS_FUNCTIONS, quirks_of
from codexproxy.protocol.numbers import whole
from codexproxy.protocol.request import Turn

REASONING_STYLES = ("reasoning_content", "think", "o3", "none")

# The finish reason of each ending; a complete answer may also end with calls.
FINISH = {"complete": "stop", "length": "length", "filtered": "content_filter"}


_TIERS = ("auto", "default", "flex", "scale", "priority", "fast")


@dataclass(frozen=True, slots=True)
class ChatRenderOptions:
    """What a chat request decides about its answer (``Turn.render``).

    Attributes:
        id: Id of the completion, the same for all its choices and chunks.
        created: When the turn began, in seconds since the epoch.
        reasoning: One of ``REASONING_STYLES``.
        json_mode: Whether the text must be nothing but JSON.
        legacy: Whether calls go out as ``function_call`` (the caller sent ``functions``).
        include_usage: Whether streams end with a usage chunk.
        metadata: The caller's metadata, handed back with the answer.
        shape: The schema that the answer has to fit; None where the caller sent none.
    """

    id: str = ""
    created: int = 0
    reasoning: str = "reasoning_content"
    json_mode: bool = False
    legacy: bool = False
    include_usage: bool = False
    metadata: Mapping[str, Any] | None = None
    shape: StructuredOutput | None = None

    @classmethod
    def of(cls, turn: Turn) -> "ChatRenderOptions":
        """The options of a turn; those of an empty request for a turn of another API."""
        return turn.render if isinstance(turn.render, cls) else cls()


@dataclass(frozen=True, slots=True)
class ChatStyle:
    """What a turn decides about how its answers look.

    Attributes:
        id: Id of the completion, the same for all its choices and chunks.
        created: When the turn began, in seconds since the epoch.
        model: The model's name as the caller wrote it.
        reasoning: One of ``REASONING_STYLES``.
        json_mode: Whether the text must be nothing but JSON.
        legacy: Whether calls go out as ``function_call`` (the caller sent ``functions``).
        quirks: What the client needs done differently.
        include_usage: Whether streams end with a usage chunk.
        names: Tool names as sent upstream -> the caller's own.
        metadata: The caller's metadata, handed back with the answer.
    """

    id: str
    created: int
    model: str
    reasoning: str = "reasoning_content"
    json_mode: bool = False
    legacy: bool = False
    quirks: frozenset[str] = frozenset()
    include_usage: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, turn: Turn) -> "ChatStyle":
        """The wording of a turn's answers."""
        options = ChatRenderOptions.of(turn)
        style, json_mode = options.reasoning, options.json_mode
        return cls(
            id=options.id,
            created=options.created,
            model=turn.model,
            # Think tags would break the JSON (docs/reference/clients.md#structured-output).
            reasoning="reasoning_content" if json_mode and style == "think" else style,
            json_mode=json_mode,
            legacy=options.legacy,
            quirks=quirks_of(turn.caller.client),
            include_usage=options.include_usage,
            names=turn.tool_names,
            metadata=options.metadata,
        )

    def name_of(self, call: Call) -> str:
        """The tool's name as the caller knows it."""
        return self.names.get(call.name, call.name)

    def is_custom(self, call: Call) -> bool:
        """Whether the call is shown as a custom one."""
        return call.custom and GRAMMAR_TOOLS_AS_FUNCTIONS not in self.quirks


def tier_of(response: Mapping[str, Any]) -> str | None:
    """The service tier that upstream says it used; None for one that the public API does not know."""
    tier = response.get("service_tier")
    return tier if isinstance(tier, str) and tier in _TIERS else None


def url_citation(citation: dict[str, Any], shift: int) -> dict[str, Any] | None:
    """A citation in chat's words; None for kinds that chat has no words for.

    Args:
        citation: The annotation of a text part.
        shift: Characters before that part in the whole content.
    """
    if citation.get("type") != "url_citation" or not isinstance(citation.get("url"), str):
        return None
    start, end = citation.get("start_index"), citation.get("end_index")
    place = {
        "start_index": shift + whole(start),
        "end_index": shift + whole(end),
    }
    title = citation.get("title")
    words = {"title": title if isinstance(title, str) else "", "url": citation["url"]}
    return {"type": "url_citation", "url_citation": {**place, **words}}


Usage = dict[str, Any]


def usage_of(usage: Any) -> Usage | None:
    """Upstream's usage with ``prompt_tokens`` and ``completion_tokens``; None where upstream sent none."""
    if not isinstance(usage, dict) or not usage:
        return None
    prompt, completion = _count(usage, "input_tokens"), _count(usage, "output_tokens")
    # An answer that was cut here has an estimate only (compat/truncate/truncator.py).
    marks = {"estimated": True} if usage.get("estimated") is True else {}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": _count(usage, "total_tokens") or prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": _count(usage.get("input_tokens_details"), "cached_tokens"),
            "cache_write_tokens": _count(usage.get("input_tokens_details"), "cache_write_tokens"),
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": _count(usage.get("output_tokens_details"), "reasoning_tokens"),
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
        **marks,
    }


def total(usages: list[Usage | None]) -> Usage | None:
    """The sum over the answers of one turn; each of them really spent its prompt."""
    known = [usage for usage in usages if usage]
    if not known:
        return None
    marks = {"estimated": True} if any("estimated" in usage for usage in known) else {}
    return _sum([{key: value for key, value in usage.items() if key != "estimated"} for usage in known]) | marks


def _sum(usages: list[Usage]) -> Usage:
    return {
        key: _sum([usage[key] for usage in usages]) if isinstance(value, dict) else sum(usage[key] for usage in usages)
        for key, value in usages[0].items()
    }


def _count(holder: Any, key: str) -> int:
    value = holder.get(key) if isinstance(holder, dict) else None
    return whole(value)
