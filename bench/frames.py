"""What the load source says: one answer of the Responses API as chunks of HTTP, each event a chunk of its own."""

import json
from typing import Any

Json = dict[str, Any]

# A delta's text is the sender's monotonic clock in nanoseconds and a blank, so that the reader knows its age.
STAMP = b"%d "
PLACEHOLDER = "0000000000000000 "

_IDS = {"item_id": "msg_bench", "output_index": 0, "content_index": 0}
# Upstream pads deltas so that their length tells nothing; so does this source.
_DELTA = (
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","content_index":0,"delta":"%s",'
    b'"item_id":"msg_bench","logprobs":[],"obfuscation":"b3nchmark","output_index":0,"sequence_number":%d}\n\n'
)


def chunk(data: bytes) -> bytes:
    """One HTTP chunk (RFC 9112 §7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(type: str, **fields: Any) -> bytes:
    """One event as a chunk."""
    payload = json.dumps({"type": type, **fields}, separators=(",", ":"))
    return chunk(f"event: {type}\ndata: {payload}\n\n".encode())


def delta(number: int, stamp: int) -> bytes:
    """One delta as a chunk."""
    return chunk(_DELTA % (STAMP % stamp, number))


def opening() -> bytes:
    """What comes before the first delta."""
    item = {"id": "msg_bench", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    return (
        event("response.created", response=_response("in_progress"), sequence_number=0)
        + event("response.in_progress", response=_response("in_progress"), sequence_number=1)
        + event("response.output_item.added", output_index=0, item=item, sequence_number=2)
        + event("response.content_part.added", **_IDS, part=_part(""), sequence_number=3)
    )


def closing(deltas: int, text: str) -> bytes:
    """What follows the last delta, the last HTTP chunk included."""
    item = {"id": "msg_bench", "type": "message", "status": "completed", "role": "assistant", "content": [_part(text)]}
    usage = {"input_tokens": 20, "output_tokens": deltas, "total_tokens": 20 + deltas}
    return (
        event("response.output_text.done", **_IDS, text=text, sequence_number=deltas + 4)
        + event("response.content_part.done", **_IDS, part=_part(text), sequence_number=deltas + 5)
        + event("response.output_item.done", output_index=0, item=item, sequence_number=deltas + 6)
        + event("response.completed", response={**_response("completed"), "usage": usage}, sequence_number=deltas + 7)
        + b"0\r\n\r\n"
    )


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _response(status: str) -> Json:
    return {
        "id": "resp_bench",
        "object": "response",
        "created_at": 1_760_000_000,
        "status": status,
        "model": "gpt-5.2",
        "output": [],
        "parallel_tool_calls": True,
        "store": False,
        "tools": [],
    }
