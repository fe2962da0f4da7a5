"""Conversations made short, and how that is emulated where upstream cannot do it.

See docs/reference/requests.md#compaction.

Upstream keeps the user's messages and hands back the rest as one encrypted
item. The emulation keeps as many of the newest user messages as fit and has
the model sum up the rest as a plain message.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from codexproxy.apis.openai_responses.response_builder import new_id
from codexproxy.errors import UpstreamFailed
from codexproxy.metering.input_tokens import count_input
from codexproxy.protocol.request import Turn

Json = dict[str, Any]

# What upstream takes, and no others.
KEYS = ("model", "input", "instructions", "tools", "parallel_tool_calls", "reasoning", "text")

# Tokens of user messages that a summary leaves as they are, newest first.
KEPT_TOKENS = 20_000

_ASK = (
    "The conversation above is about to be cut off here, and somebody else has to carry on with nothing but your "
    "notes. Write these notes now. Say what was asked for and why, what was done and found so far, what was decided, "
    "which constraints and preferences the user stated, every name, path, number and quotation that is still needed, "
    "and what is left to do. Be complete and brief. Call no tools and answer nothing else."
)
_INTRODUCTION = "The conversation before this point was replaced by these notes on it:\n\n"


def summarising(turn: Turn) -> Turn:
    """The turn whose answer is a summary of another turn's conversation.

    Args:
        turn: That turn, planned.
    """
    ask = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": _ASK}]}
    body = {name: value for name, value in turn.body.items() if name not in ("tools", "tool_choice", "text")}
    return replace(turn, body={**body, "input": [*turn.body["input"], ask]}, stop=(), max_tokens=None)


def summarised(
    turn: Turn,
    response: Json,
    clock: Callable[[], float] = time.time,
    identify: Callable[[str], str] = new_id,
) -> Json:
    """The compacted conversation, from the answer to ``summarising(turn)``.

    Raises:
        UpstreamFailed: The model wrote no summary.
    """
    text = "\n\n".join(filter(None, map(_text, response.get("output") or ())))
    if not text:
        raise UpstreamFailed("The model wrote no summary of the conversation. Please try again.", code="empty_response")
    summary = {
        "type": "message",
        "id": identify("msg"),
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_text", "text": _INTRODUCTION + text}],
    }
    return {
        "id": identify("resp"),
        "object": "response.compaction",
        "created_at": int(clock()),
        "output": [*_kept(turn.body["input"]), summary],
        "usage": response.get("usage"),
    }


def _kept(items: list[Any]) -> list[Json]:
    kept: list[Json] = []
    left = KEPT_TOKENS
    for item in reversed(items):
        if isinstance(item, dict) and item.get("role") == "user":
            left -= count_input({"input": [item]})
            if left < 0:
                break
            kept.append(item)
    return kept[::-1]


def _text(item: Any) -> str:
    parts = item.get("content") if isinstance(item, dict) and item.get("type") == "message" else None
    texts = [part.get("text") for part in parts or () if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str)).strip()
