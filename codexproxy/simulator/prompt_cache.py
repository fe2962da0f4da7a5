"""Token counts of a turn, and how many of them the prompt cache knew (docs/reference/requests.md#prompt-cache)."""

from collections import OrderedDict
from typing import Any

import orjson

Body = dict[str, Any]

KEPT_CONVERSATIONS = 512
BLOCK = 128
SMALLEST = 1024


class PromptCache:
    """Remembers the last input of each conversation, by account and ``prompt_cache_key``."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], list[tuple[int, int]]] = OrderedDict()

    def count(self, account_id: str, body: Body) -> tuple[int, int]:
        """Input tokens at four bytes each, and those of them that were cached (whole blocks of 128)."""
        prompt = [body.get("instructions"), body.get("tools"), *(body.get("input") or [])]
        written = [orjson.dumps(part) for part in prompt]
        pieces = [(hash(text), -(-len(text) // 4)) for text in written]
        total = sum(tokens for _, tokens in pieces)
        key = body.get("prompt_cache_key")
        if not key:
            return total, 0
        known = self._known.pop((account_id, str(key)), [])
        self._known[account_id, str(key)] = pieces
        if len(self._known) > KEPT_CONVERSATIONS:
            self._known.popitem(last=False)
        return total, _common_prefix(known, pieces)


def _common_prefix(known: list[tuple[int, int]], pieces: list[tuple[int, int]]) -> int:
    same = 0
    for old, new in zip(known, pieces, strict=False):
        if old != new:
            break
        same += new[1]
    return same // BLOCK * BLOCK if same >= SMALLEST else 0
