"""Hand-written streams and what a correct reader finds in them.

Each sample holds the bytes of one response body and the events it contains,
as parsed JSON. Where the SSE standard lets an event be written in several
ways, there is one sample for each; a reader must find the same in all.
"""

import json
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """One stream.

    Attributes:
        name: Short, for test ids.
        raw: The body.
        events: What is in it, in order.
        why: The fact it stands for.
        complete: Whether a terminal event ends it.
    """

    name: str
    raw: bytes
    events: tuple[Json, ...]
    why: str
    complete: bool = True

    def __str__(self) -> str:
        return self.name

    def pieces(self, size: int) -> list[bytes]:
        """The body in reads of a fixed size."""
        return [self.raw[start : start + size] for start in range(0, len(self.raw), size)]


def compact(event: Json) -> str:
    """An event's JSON on one line, with its characters as they are."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def frame(event: Json) -> str:
    """An event in the plain way upstream writes it."""
    return f"event: {event['type']}\ndata: {compact(event)}\n\n"


def _numbered(*events: Json) -> tuple[Json, ...]:
    return tuple({**event, "sequence_number": number} for number, event in enumerate(events))


RESPONSE: Json = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5.5", "output": []}
USAGE: Json = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 2,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 5,
}
MESSAGE: Json = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
PLACE: Json = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


def text_part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def opening() -> list[Json]:
    """What every answer begins with."""
    begun = {**RESPONSE, "status": "in_progress", "usage": None}
    return [{"type": "response.created", "response": begun}, {"type": "response.in_progress", "response": begun}]


def speaking(*deltas: str) -> list[Json]:
    """A message from its announcement to its end."""
    text = "".join(deltas)
    done = {**MESSAGE, "status": "completed", "content": [text_part(text)]}
    return [
        {"type": "response.output_item.added", "item": MESSAGE, "output_index": 0},
        {"type": "response.content_part.added", **PLACE, "part": text_part("")},
        *[{"type": "response.output_text.delta", **PLACE, "delta": delta, "logprobs": []} for delta in deltas],
        {"type": "response.output_text.done", **PLACE, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **PLACE, "part": text_part(text)},
        {"type": "response.output_item.done", "item": done, "output_index": 0},
    ]


def ending(kind: str = "response.completed", **changes: Any) -> Json:
    """The terminal event; its ``output`` is empty, as the Codex backend often leaves it."""
    return {"type": kind, "response": {**RESPONSE, "status": "completed", "usage": USAGE, **changes}}


HELLO = _numbered(*opening(), *speaking("Grüße", ", ", "🌍!"), ending())
PLAIN = "".join(map(frame, HELLO))
TYPED_BY_JSON = "".join(f"data: {compact(event)}\n\n" for event in HELLO)
FAILURE: Json = {"code": "server_error", "message": "It broke."}


def _spread(event: Json) -> str:
    # Every line of indented JSON becomes a data line; the reader joins them with line feeds.
    lines = json.dumps(event, ensure_ascii=False, indent=1).split("\n")
    return f"event: {event['type']}\n" + "".join(f"data: {line}\n" for line in lines) + "\n"


def _commented(event: Json) -> str:
    return f": ping\n\n:\n{frame(event)}: after\n\n"


def _decorated(event: Json) -> str:
    return f"id: 5\nretry: 100\nnocolon\nunknown: x\n{frame(event)}"


WRITTEN_DIFFERENTLY = [
    Sample("plain", PLAIN.encode(), HELLO, "stream.md#events: event line, data line, blank line"),
    Sample("crlf", PLAIN.replace("\n", "\r\n").encode(), HELLO, "SSE: CR LF ends a line"),
    Sample("lone_cr", PLAIN.replace("\n", "\r").encode(), HELLO, "SSE: CR alone ends a line"),
    Sample("bom", b"\xef\xbb\xbf" + PLAIN.encode(), HELLO, "SSE: one leading byte order mark is skipped"),
    Sample(
        "no_space",
        PLAIN.replace(": {", ":{").replace("event: ", "event:").encode(),
        HELLO,
        "SSE: the space is optional",
    ),
    Sample(
        "no_event_lines",
        TYPED_BY_JSON.encode(),
        HELLO,
        "codex-cli.md#what-it-needs-in-a-stream: event lines are not needed",
    ),
    Sample("multi_line_data", "".join(map(_spread, HELLO)).encode(), HELLO, "SSE: data lines are joined by line feeds"),
    Sample(
        "comments", "".join(map(_commented, HELLO)).encode(), HELLO, "SSE: lines that begin with a colon say nothing"
    ),
    Sample("other_fields", "".join(map(_decorated, HELLO)).encode(), HELLO, "SSE: id, retry and unknown fields"),
    Sample(
        "data_first",
        "".join(f"data: {compact(e)}\nevent: {e['type']}\n\n" for e in HELLO).encode(),
        HELLO,
        "SSE: any order",
    ),
    Sample(
        "many_blank_lines",
        PLAIN.replace("\n\n", "\n\n\n\n").encode(),
        HELLO,
        "SSE: a blank line without data is no event",
    ),
    Sample("leading_blank_lines", ("\n\n" + PLAIN).encode(), HELLO, "SSE: a blank line without data is no event"),
    Sample(
        "done_marker",
        (PLAIN + "data: [DONE]\n\n").encode(),
        HELLO,
        "not upstream's, but gateways add it: no JSON, no event",
    ),
    Sample(
        "ascii_only",
        "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in HELLO).encode(),
        HELLO,
        "JSON: escaped characters and spaces after commas",
    ),
    Sample(
        "mixed_endings",
        PLAIN.replace("\n\n", "\r\n\n", 3).encode(),
        HELLO,
        "SSE: line endings may change within a stream",
    ),
]

_QUIET = _numbered(
    *opening(),
    {"type": "codex.rate_limits", "rate_limits": {"allowed": True, "primary": {"used_percent": 4}}},
    {"type": "response.metadata", "metadata": {}},
    {"type": "keepalive"},
    *speaking("a"),
    {"type": "response.something_new", "x": 1},
    ending(),
)
_FAILED = _numbered(*opening(), ending("response.failed", status="failed", error=FAILURE, usage=None))
_NESTED = _numbered(*opening(), {"type": "error", "error": {"type": "server_error", "param": None, **FAILURE}})
_FLAT = _numbered(*opening(), {"type": "error", "param": None, **FAILURE})
_BOTH = _numbered(*_NESTED, ending("response.failed", status="failed", error=FAILURE, usage=None))
_DONE = _numbered(*opening(), *speaking("a"), ending("response.done"))
_INCOMPLETE = _numbered(
    *opening(),
    *speaking("a"),
    ending("response.incomplete", status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
)
_SMALLEST: tuple[Json, ...] = (
    {
        "type": "response.output_item.done",
        "item": {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
    },
    {"type": "response.completed", "response": {"id": "resp_2"}},
)
_SURROGATE = _numbered(*opening(), *speaking("a\ud83d"), ending())
_BREAKS = _numbered(*opening(), *speaking("line\u2028sep\u0085next\x0bvt\x0cff"), ending())

SAYING_SOMETHING_ELSE = [
    Sample(
        "side_channel",
        "".join(map(frame, _QUIET)).encode(),
        _QUIET,
        "stream.md#events: unknown and side-channel types are ignored",
    ),
    Sample("failed", "".join(map(frame, _FAILED)).encode(), _FAILED, "stream.md#failure-codes: a failure inside a 200"),
    Sample(
        "error_nested",
        "".join(map(frame, _NESTED)).encode(),
        _NESTED,
        "stream.md#terminal-events: a bare error event, fields in an object",
    ),
    Sample(
        "error_flat",
        "".join(map(frame, _FLAT)).encode(),
        _FLAT,
        "stream.md#terminal-events: a bare error event, fields at the top",
    ),
    Sample("error_then_failed", "".join(map(frame, _BOTH)).encode(), _BOTH, "recordings: failed may follow error"),
    Sample(
        "response_done",
        "".join(map(frame, _DONE)).encode(),
        _DONE,
        "stream.md#terminal-events: the older terminal event",
    ),
    Sample(
        "incomplete",
        "".join(map(frame, _INCOMPLETE)).encode(),
        _INCOMPLETE,
        "stream.md#events: cut short by the model's limit",
    ),
    Sample(
        "smallest",
        "".join(map(frame, _SMALLEST)).encode(),
        _SMALLEST,
        "codex-cli.md#what-it-needs-in-a-stream: the least that is an answer",
    ),
    Sample(
        "lone_surrogate",
        "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in _SURROGATE).encode(),
        _SURROGATE,
        "JSON allows an escaped half of a pair; strict parsers refuse it",
    ),
    Sample(
        "odd_line_separators",
        "".join(map(frame, _BREAKS)).encode(),
        _BREAKS,
        "SSE: only CR and LF end lines, not U+2028, U+0085 or form feeds",
    ),
]

INCOMPLETE_STREAMS = [
    Sample("empty", b"", (), "a 200 with no body", complete=False),
    Sample("only_comments", b": ping\n\n: ping\n\n", (), "nothing but comments", complete=False),
    Sample(
        "no_final_blank_line",
        PLAIN.encode()[:-1],
        HELLO[:-1],
        "SSE: an event without its blank line does not count",
        False,
    ),
    Sample("no_terminal_event", "".join(map(frame, HELLO[:-1])).encode(), HELLO[:-1], "the stream just stops", False),
    Sample("cut_in_data", PLAIN.encode()[:-40], HELLO[:-1], "the stream stops inside the terminal event", False),
    Sample(
        "cut_in_utf8",
        PLAIN.encode()[: PLAIN.encode().index("🌍".encode()) + 2],
        HELLO[:6],
        "the stream stops inside a character",
        False,
    ),
]

SAMPLES = [*WRITTEN_DIFFERENTLY, *SAYING_SOMETHING_ELSE, *INCOMPLETE_STREAMS]
