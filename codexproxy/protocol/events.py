"""Events of the Responses API and the grammar of their stream (docs/reference/stream.md#events)."""

import json
from typing import Any

import orjson

from codexproxy.errors import UpstreamFailed

Batch = list["Event"]

COMPLETED = "response.completed"
FAILED = "response.failed"
INCOMPLETE = "response.incomplete"
ERROR = "error"
RATE_LIMITS = "codex.rate_limits"

# ``response.done`` is the older twin of ``response.completed`` (docs/reference/stream.md#terminal-events).
TERMINAL = frozenset({COMPLETED, INCOMPLETE, FAILED, "response.done", ERROR})

# A refusal can still hide behind these in a 200 (docs/reference/stream.md#refusals-inside-a-200), so none of them
# counts as the first word of an answer.
PREAMBLE = frozenset(
    {
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.metadata",
        RATE_LIMITS,
        "keepalive",
    }
)

# Every event of the public API, and what the Codex backend adds; a broken one among them ends the answer.
KNOWN = (
    TERMINAL
    | PREAMBLE
    | frozenset(
        f"response.{name}"
        for name in (
            *("output_item.added", "output_item.done", "content_part.added", "content_part.done"),
            *("output_text.delta", "output_text.done", "output_text.annotation.added"),
            *("refusal.delta", "refusal.done"),
            *("reasoning_text.delta", "reasoning_text.done", "reasoning_summary.delta", "reasoning_summary.done"),
            *("reasoning_summary_part.added", "reasoning_summary_part.done"),
            *("reasoning_summary_text.delta", "reasoning_summary_text.done"),
            *("function_call_arguments.delta", "function_call_arguments.done"),
            *("custom_tool_call_input.delta", "custom_tool_call_input.done"),
            *("web_search_call.in_progress", "web_search_call.searching", "web_search_call.completed"),
            *("file_search_call.in_progress", "file_search_call.searching", "file_search_call.completed"),
            *("code_interpreter_call.in_progress", "code_interpreter_call.interpreting"),
            *("code_interpreter_call.completed", "code_interpreter_call_code.delta"),
            *("code_interpreter_call_code.done", "image_generation_call.in_progress"),
            *("image_generation_call.generating", "image_generation_call.partial_image"),
            *("image_generation_call.completed", "mcp_call_arguments.delta", "mcp_call_arguments.done"),
            *("mcp_call.in_progress", "mcp_call.completed", "mcp_call.failed"),
            *("mcp_list_tools.in_progress", "mcp_list_tools.completed", "mcp_list_tools.failed"),
        )
    )
)


class Event:
    """One event: its type, its frame as received, its JSON when somebody asks.

    Attributes:
        type: The event's type, ``response.output_text.delta``.
        raw: The complete SSE frame, blank line included.
    """

    __slots__ = ("_data", "_payload", "raw", "type")

    def __init__(self, type: str, raw: bytes, payload: bytes, data: dict[str, Any] | None = None) -> None:
        self.type = type
        self.raw = raw
        self._payload = payload
        self._data = data

    @classmethod
    def of(cls, data: dict[str, Any]) -> "Event":
        """An event of our own making, framed from its JSON."""
        payload = encode_json(data)
        return cls(data["type"], frame(data["type"], payload), payload, data)

    @property
    def data(self) -> dict[str, Any]:
        """The event's JSON object.

        Raises:
            UpstreamFailed: The payload is not a JSON object.
        """
        data = self._data
        if data is None:
            try:
                data = orjson.loads(self._payload)
            except orjson.JSONDecodeError:
                data = None
            if type(data) is not dict:
                data = decode_object(self._payload)
            self._data = data
        return data

    def __repr__(self) -> str:
        return f"Event({self.type!r}, {len(self.raw)} bytes)"


def item_key(data: dict[str, Any]) -> int | str | None:
    """What tells an event's item from the others: its output index, else its id."""
    index = data.get("output_index")
    return index if isinstance(index, int) else item_id(data)


def item_id(data: dict[str, Any]) -> str | None:
    """The id of an event's item, which some events name and others carry."""
    item = data.get("item")
    id = data.get("item_id") or (item.get("id") if isinstance(item, dict) else None)
    return id if isinstance(id, str) else None


def frame(type: str, payload: bytes) -> bytes:
    """The SSE frame of one event."""
    return b"event: " + type.encode() + b"\ndata: " + payload + b"\n\n"


def encode_json(value: Any) -> bytes:
    """JSON bytes; lone surrogates, which orjson refuses, are escaped."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def as_text(value: Any) -> str:
    """What somebody wrote into a call: a string by every schema, although some send the JSON itself."""
    if value is None:
        return ""
    return value if isinstance(value, str) else encode_json(value).decode()


def decode_object(payload: bytes) -> dict[str, Any]:
    """Parses one JSON object of upstream's.

    Raises:
        UpstreamFailed: It is not JSON, or not an object.
    """
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        value = _decode_leniently(payload)
    if not isinstance(value, dict):
        raise UpstreamFailed("Upstream sent an event that is not a JSON object.", code="upstream_truncated")
    return value


def _decode_leniently(payload: bytes) -> Any:
    # The standard library takes what orjson refuses: lone surrogates and NaN.
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise UpstreamFailed("Upstream sent an event that is not valid JSON.", code="upstream_truncated") from error
