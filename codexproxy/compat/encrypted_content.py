"""Encrypted parts of a conversation, which only the account that wrote them can read.

See docs/reference/requests.md#encrypted-reasoning.
"""

from typing import Any

from codexproxy.protocol.request import Body

REASONING = "reasoning"
# Summaries of the conversation itself: without them its beginning is lost.
COMPACTIONS = ("compaction", "compaction_summary")


def has_ciphertext(body: Body) -> bool:
    """Whether the input holds anything encrypted."""
    return any(_is_encrypted(item) for item in _items(body))


def has_compaction(body: Body) -> bool:
    """Whether the input holds an encrypted summary that must not be left out."""
    return any(_is_encrypted(item) and item.get("type") in COMPACTIONS for item in _items(body))


def without_encrypted_reasoning(body: Body) -> Body:
    """The same body without encrypted reasoning items; itself when it holds none."""
    items = _items(body)
    kept = [item for item in items if not (_is_encrypted(item) and item.get("type") == REASONING)]
    return body if len(kept) == len(items) else {**body, "input": kept}


def _items(body: Body) -> list[Any]:
    items = body.get("input")
    return items if isinstance(items, list) else []


def _is_encrypted(item: Any) -> bool:
    return isinstance(item, dict) and bool(item.get("encrypted_content"))
