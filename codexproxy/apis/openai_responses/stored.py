"""Answers about stored responses: retrieved, listed, deleted, cancelled, followed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from codexproxy.errors import InvalidRequest, ProxyError
from codexproxy.protocol.events import COMPLETED, ERROR, FAILED, INCOMPLETE, TERMINAL, Event, decode_object

Json = dict[str, Any]

MOST_ITEMS = 100

# How the stream of a response ends whose log has no end of its own.
_ENDINGS = {"completed": COMPLETED, "failed": FAILED}


def found(response: Json | None, id: str) -> Json:
    """The response, when there is one.

    Raises:
        InvalidRequest: 404; it does not exist, or belongs to somebody else.
    """
    if response is None:
        raise InvalidRequest(
            f"Response with id '{id}' not found. It was not stored, is too old, or belongs to another key.",
            code="response_not_found",
            status=404,
            param="response_id",
        )
    return response


def deleted(gone: bool, id: str) -> Json:
    """The answer to a deletion.

    Raises:
        InvalidRequest: 404; there was nothing to delete.
    """
    found({} if gone else None, id)
    return {"id": id, "object": "response", "deleted": True}


def cancellable(response: Json) -> Json:
    """The response, when it is one that can be cancelled; cancelling a finished one changes nothing.

    Raises:
        InvalidRequest: It was not made in the background.
    """
    if not response.get("background"):
        raise InvalidRequest("Only a response that was created with 'background': true can be cancelled.")
    return response


def failed(response: Json, error: ProxyError) -> Json:
    """The response as it is kept when it came to nothing."""
    return {**response, "status": "failed", "error": {"code": error.code, "message": error.told}}


def starting_after(arguments: Any) -> int:
    """Number of the last event that a reader has, as in the query of ``GET …?stream=true``; -1 for none.

    Raises:
        InvalidRequest: It is no whole number.
    """
    given = arguments.get("starting_after") or "-1"
    if given != "-1" and not (given.isascii() and given.isdigit() and len(given) < 16):
        raise InvalidRequest("'starting_after' must be the sequence_number of an event.", param="starting_after")
    return int(given)


def is_end(frame: bytes) -> bool:
    """Whether a frame of a log, which we wrote, tells the end of the response."""
    lines = [line for line in frame.splitlines() if line.startswith(b"data:")]
    return bool(lines) and decode_object(lines[-1][5:]).get("type") in TERMINAL


def closing(response: Json | None, last: int, id: str) -> bytes:
    """The last frame of a followed response whose log lacks one.

    The log of one that was cancelled, or whose maker died, just stops; that of an old one is gone.

    Args:
        response: The response by now; None when it was deleted meanwhile.
        last: Number of the frame before.
        id: Its id.
    """
    if response is None:
        return broken(InvalidRequest(f"The response '{id}' was deleted.", code="response_not_found"), last)
    type = _ENDINGS.get(str(response.get("status")), INCOMPLETE)
    return Event.of({"type": type, "sequence_number": last + 1, "response": response}).raw


def broken(error: ProxyError, last: int) -> bytes:
    """The last frame of a followed response that cannot be followed any more; ``last`` as for ``closing``."""
    told = {"type": ERROR, "code": error.code, "message": error.told, "param": error.param}
    return Event.of({**told, "sequence_number": last + 1}).raw


@dataclass(frozen=True, slots=True)
class Listing:
    """Which items are asked for, as in the query of ``GET …/input_items``.

    Attributes:
        after: Id of the item before the first one wanted.
        before: Id of the item behind the last one wanted.
        limit: Most items.
        order: ``asc`` or ``desc``; the latter begins with the newest.
        include: Names of parts that are left out otherwise.
    """

    after: str | None = None
    before: str | None = None
    limit: int = 20
    order: str = "desc"
    include: tuple[str, ...] = ()


def listing(arguments: Any) -> Listing:
    """Reads a query's arguments.

    Args:
        arguments: The query; ``get`` gives one value, ``getlist`` all of a name.

    Raises:
        InvalidRequest: A limit that is no number from 1 to 100, an unknown order.
    """
    limit, order = arguments.get("limit") or "20", arguments.get("order") or "desc"
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= MOST_ITEMS):
        raise InvalidRequest(f"'limit' must be a whole number from 1 to {MOST_ITEMS}.", param="limit")
    if order not in ("asc", "desc"):
        raise InvalidRequest("'order' must be 'asc' or 'desc'.", param="order")
    include = (*arguments.getlist("include"), *arguments.getlist("include[]"))
    return Listing(arguments.get("after"), arguments.get("before"), int(limit), order, include)


def page(items: Sequence[Json], asked: Listing) -> Json:
    """One page of a response's input items.

    Args:
        items: All of them, oldest first.
        asked: Which are wanted.

    Raises:
        InvalidRequest: ``after`` or ``before`` names no item of these.
    """
    ordered = list(items) if asked.order == "asc" else list(reversed(items))
    start = _position(ordered, asked.after, "after") + 1 if asked.after else 0
    stop = _position(ordered, asked.before, "before") if asked.before else len(ordered)
    wanted = ordered[start:stop]
    shown = [_shown(item, asked.include) for item in wanted[: asked.limit]]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0].get("id") if shown else None,
        "last_id": shown[-1].get("id") if shown else None,
        "has_more": len(wanted) > len(shown),
    }


def _position(items: list[Json], id: str, param: str) -> int:
    for position, item in enumerate(items):
        if item.get("id") == id:
            return position
    raise InvalidRequest(f"'{param}' names no item of this response.", param=param)


def _shown(item: Json, include: Sequence[str]) -> Json:
    item = _with_parts(item)
    for name, (type, hide) in _HIDDEN.items():
        if name not in include and item.get("type") == type:
            item = hide(item)
    return item


def _with_parts(item: Json) -> Json:
    # Requests may write a message's text as a string, listings never do.
    content = item.get("content")
    if item.get("type") != "message" or not isinstance(content, str):
        return item
    kind = "output_text" if item.get("role") == "assistant" else "input_text"
    return {**item, "content": [{"type": kind, "text": content}]}


def _without_ciphertext(item: Json) -> Json:
    return {name: value for name, value in item.items() if name != "encrypted_content"}


def _without_image_urls(item: Json) -> Json:
    content = item.get("content")
    if not isinstance(content, list):
        return item
    return {**item, "content": [_without_image_url(part) for part in content]}


def _without_image_url(part: Any) -> Any:
    is_image = isinstance(part, dict) and part.get("type") == "input_image" and "image_url" in part
    return {**part, "image_url": None} if is_image else part


# What the platform lists only when ``include`` names it.
_HIDDEN: dict[str, tuple[str, Callable[[Json], Json]]] = {
    "reasoning.encrypted_content": ("reasoning", _without_ciphertext),
    "message.input_image.image_url": ("message", _without_image_urls),
}
