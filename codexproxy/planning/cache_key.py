"""The identity of a conversation for the upstream's prompt cache.

See docs/reference/requests.md#prompt-cache and docs/reference/clients.md#prompt-cache-misses.

Explicit key, else the client's own session, else the start of the conversation:
its instructions and first user message, which neither appended turns nor edits
of later ones change. Never random per request, never shared between callers.
"""

import hashlib
import uuid
from itertools import islice
from typing import Any

from codexproxy.planning.context import Setting
from codexproxy.planning.request_builder import Draft
from codexproxy.protocol.events import encode_json
from codexproxy.protocol.json_encoding import Encoded, encode_paced
from codexproxy.protocol.pacing import Form, Pause, as_it_is, hashed, no_pause
from codexproxy.protocol.request import Caller

_NAMESPACE = uuid.UUID("5c0de390-9b1d-4c44-8a6e-2f5b6f0a7c11")

# Callers of a service with one owner; all others are told apart.
_SINGLE = frozenset({"anonymous", "default"})


def settle_cache_key(draft: Draft, setting: Setting) -> None:
    """The conversation's identity in ``prompt_cache_key`` and ``cache_key``."""
    given = draft.body.get("prompt_cache_key")
    own = given if isinstance(given, str) and given else draft.caller.session
    pause = setting.policy.pause
    key = _presentable(own, draft.caller, pause) if own else setting.policy.conversation(fingerprint(draft, pause))
    draft.cache_key = draft.body["prompt_cache_key"] = key


def fingerprint(draft: Draft, pause: Pause = no_pause) -> str:
    """What all turns of a conversation share, as a UUID; another caller's twin has another."""
    users = (_words(item) for item in draft.body["input"] if isinstance(item, dict) and item.get("role") == "user")
    start = [draft.caller.key, draft.body.get("instructions"), list(islice(users, 1))]
    return _named(encode_paced(start, pause) if draft.turn.execution.pause else encode_json(start), pause)


def _words(item: dict[str, Any]) -> Any:
    # Ids are the client's and may be new in every request.
    return item.get("content")


def _presentable(key: str, caller: Caller, pause: Pause) -> str:
    # It travels in headers too, and upstream takes 64 characters at most (docs/reference/requests.md#body-of-a-turn).
    fits = len(key) <= 64 and key.isascii() and key.isprintable() and key == key.strip()
    if fits and caller.key in _SINGLE:
        return key
    own = f"{caller.key}\n{key}".encode("utf-8", "surrogatepass")
    return _named(own, pause, lambda piece: piece.hex().encode())


def _named(name: Encoded, pause: Pause, form: Form = as_it_is) -> str:
    # As ``uuid.uuid5`` has it, which would look through the megabytes of a long conversation in one go.
    digest = hashed(hashlib.sha1(_NAMESPACE.bytes, usedforsecurity=False), name, pause, form)
    return str(uuid.UUID(bytes=digest[:16], version=5))
