"""The identity of a conversation for the upstream's prompt cache (COMPAT.md U19, P12)."""

import uuid
from dataclasses import replace

from codexproxy.turns.events import encode_json
from codexproxy.turns.policy import Setting
from codexproxy.turns.turn import Turn

_CACHE_NAMESPACE = uuid.UUID("5c0de390-9b1d-4c44-8a6e-2f5b6f0a7c11")


def settle_cache_key(turn: Turn, setting: Setting) -> Turn:
    """Explicit key, else the client's session, else a fingerprint of the conversation's start."""
    given = turn.body.get("prompt_cache_key")
    key = given if isinstance(given, str) and given else turn.caller.session or turn.cache_key
    key = _header_safe(key) if key else _fingerprint(turn)
    return replace(turn, cache_key=key, body={**turn.body, "prompt_cache_key": key})


def _header_safe(key: str) -> str:
    # It travels in headers too, and upstream takes 64 characters at most (UPSTREAM.md §3.2).
    if len(key) <= 64 and key.isascii() and key.isprintable() and key == key.strip():
        return key
    return str(uuid.uuid5(_CACHE_NAMESPACE, key))


def _fingerprint(turn: Turn) -> str:
    # The start of a conversation does not change when turns are appended.
    users = [item for item in turn.body["input"] if isinstance(item, dict) and item.get("role") == "user"]
    start = [turn.caller.key, turn.body.get("instructions"), users[:1]]
    return str(uuid.uuid5(_CACHE_NAMESPACE, encode_json(start).hex()))
