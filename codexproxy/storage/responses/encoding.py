"""JSON of responses and items as it lies in the database."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from codexproxy.storage.responses.base import Json

# Bytes of an item that are digested at once.
_SLICE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """An item as it is kept: its id apart, so that what is resent under a new id is kept once.

    Attributes:
        item: The item's id, None when it has none.
        hash: Digest of the rest.
        body: The rest as JSON.
    """

    item: str | None
    hash: bytes
    body: bytes


def encode(value: Any) -> bytes:
    """JSON bytes; lone surrogates, which orjson refuses, are escaped."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def decode(data: bytes) -> Json:
    """The JSON object that ``encode`` wrote."""
    try:
        value: Json = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = json.loads(data)
    return value


def content_of(item: Mapping[str, Any], pause: Callable[[], None] = lambda: None) -> Content:
    """An item as it is kept.

    Args:
        item: The item.
        pause: Lets others run, now and then where the item is large.
    """
    id = item.get("id")
    body = encode({name: value for name, value in item.items() if name != "id"})
    digest = hashlib.blake2b(body[:_SLICE], digest_size=16)
    for start in range(_SLICE, len(body), _SLICE):
        pause()
        digest.update(body[start : start + _SLICE])
    return Content(id if isinstance(id, str) else None, digest.digest(), body)


def owned_hash(owner: str, content: Content) -> bytes:
    """The digest under which an owner's content is kept; the same content of two owners is kept twice."""
    key = owner.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content.hash + key, digest_size=16).digest()


def item_of(id: str | None, body: bytes) -> Json:
    """The item that ``content_of`` took apart."""
    rest = decode(body)
    return rest if id is None else {"id": id, **rest}
