"""Completing a request with what the real Codex CLI would have sent; pure."""

import re
import uuid
from collections.abc import Container
from dataclasses import replace
from typing import Any

from codexproxy.access.instructions.catalog import OfficialTexts
from codexproxy.planning.instructions import NEUTRAL_INSTRUCTIONS
from codexproxy.protocol.request import Body, Turn

_NAMESPACE = uuid.UUID("0b6f2c1e-6a0d-4d7b-9a83-5f0f3c6f7d21")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

COMPLETED = "guard:completed"


def complete(turn: Turn, official: str, genuine: OfficialTexts, ours: Container[str] = ()) -> Turn:
    """The turn with official instructions, the caller's own behind them, and one UUID as its identity.

    Official instructions that are there already are the ones that are sent, as they were synchronised.

    Args:
        turn: A planned turn.
        official: The model's official instructions, sent byte for byte.
        genuine: All official instructions.
        ours: Texts that stood in for the caller's words; they are dropped.
    """
    body = dict(turn.body)
    given = body.get("instructions")
    own = given if isinstance(given, str) else ""
    body["input"], found = _without_official(list(body.get("input") or []), genuine)
    given_official = genuine.find(own)
    if given_official is not None:
        official, own = given_official, ""
    elif own == NEUTRAL_INSTRUCTIONS or own in ours:
        own = ""
    body = _with_instructions(body, found or official, own)
    key = one_uuid(turn)
    return replace(turn, body={**body, "prompt_cache_key": key}, cache_key=key).with_notes(adapted=(COMPLETED,))


def one_uuid(turn: Turn) -> str:
    """The conversation's UUID: its own where that is one, else one that stays the same for the conversation."""
    if _UUID.fullmatch(turn.cache_key):
        return turn.cache_key
    return str(uuid.uuid5(_NAMESPACE, f"{turn.caller.key}\n{turn.cache_key}"))


def instructions_of(body: Body) -> str:
    """The text a body opens with: its instructions, else its first developer message."""
    own = body.get("instructions")
    if isinstance(own, str) and own and own != NEUTRAL_INSTRUCTIONS:
        return own
    first = next((item for item in body.get("input") or [] if _is_developer(item)), None)
    return _text(first) if first else ""


def _with_instructions(body: Body, official: str, own: str) -> Body:
    items = body["input"]
    moved = [_developer(own)] if own else []
    if items and isinstance(items[0], dict) and items[0].get("type") == "additional_tools":
        # The lite shape has no instructions of its own: they open the input, behind the tools.
        return {**body, "instructions": "", "input": [items[0], _developer(official), *moved, *items[1:]]}
    return {**body, "instructions": official, "input": [*moved, *items]}


def _without_official(items: list[Any], genuine: OfficialTexts) -> tuple[list[Any], str]:
    for position, item in enumerate(items):
        if _is_developer(item):
            text = genuine.find(_text(item))
            return (items[:position] + items[position + 1 :], text) if text else (items, "")
    return items, ""


def _is_developer(item: Any) -> bool:
    return isinstance(item, dict) and item.get("role") == "developer" and item.get("type", "message") == "message"


def _text(item: Any) -> str:
    content = item.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def _developer(text: str) -> Body:
    return {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": text}]}
