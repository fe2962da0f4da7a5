"""An upstream that says something else in one of the places where a number belongs."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from tests.fakes.serving import serving

_MARK = "@number@"
_USAGE = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 1},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 18,
}
_ANNOTATION = {"type": "url_citation", "url": "https://example.com", "title": "t", "start_index": 0, "end_index": 3}


def _events() -> list[dict[str, Any]]:
    part = {"type": "output_text", "text": "well", "annotations": [], "logprobs": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": "{}"}
    response = {"id": "resp_1", "object": "response", "created_at": 1_796_000_000, "model": "gpt-5.2", "output": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**response, "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", **place, "delta": "well", "logprobs": []},
        {
            "type": "response.output_text.annotation.added",
            **place,
            "annotation_index": 0,
            "annotation": dict(_ANNOTATION),
        },
        {"type": "response.output_text.done", **place, "text": "well"},
        {"type": "response.content_part.done", **place, "part": {**part, "annotations": [dict(_ANNOTATION)]}},
        {"type": "response.output_item.done", "output_index": 0, "item": {**item, "content": [part]}},
        {"type": "response.output_item.added", "output_index": 1, "item": {**call, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 1, "delta": "{}"},
        {"type": "response.function_call_arguments.done", "item_id": "fc_1", "output_index": 1, "arguments": "{}"},
        {"type": "response.output_item.done", "output_index": 1, "item": call},
        {
            "type": "codex.rate_limits",
            "rate_limits": {
                name: {"used_percent": 10, "window_minutes": 300, "reset_at": 1_796_000_000, "reset_after_seconds": 9}
                for name in ("primary", "secondary")
            },
        },
        {
            "type": "response.completed",
            "response": {**response, "completed_at": 1_796_000_001, "status": "completed", "usage": _USAGE},
        },
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, bool):
        return
    if isinstance(value, int):
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield from _numbers(inner, (*path, key))


def _with(value: Any, path: tuple[Any, ...]) -> Any:
    if not path:
        return _MARK
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = _with(value[path[0]], path[1:])
    return copied


@dataclass(frozen=True)
class Place:
    """Where the number stands.

    Attributes:
        name: How it is called.
        status: The status of the answer.
        body: What is answered, with a mark in the number's place.
        header: The header that holds it instead; "" for the body.
    """

    name: str
    status: int
    body: str
    header: str = ""


def _stream(events: list[dict[str, Any]]) -> str:
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


def _in_events() -> Iterator[Place]:
    events = _events()
    for path in _numbers(events):
        name = ".".join([events[path[0]]["type"], *map(str, path[1:])])
        yield Place(name, 200, _stream(_with(events, path)).replace(f'"{_MARK}"', _MARK))


def _in_refusals() -> Iterator[Place]:
    for code, status in (("usage_limit_reached", 429), ("rate_limit_exceeded", 429), ("server_is_overloaded", 503)):
        for name in ("resets_at", "resets_in_seconds"):
            error = json.dumps({"error": {"type": code, "code": code, "message": "no", name: _MARK}})
            yield Place(f"{code}.{name}", status, error.replace(f'"{_MARK}"', _MARK))
            failed = {"type": "response.failed", "response": {"id": "resp_1", "status": "failed", "error": {
                "code": code, "message": "no", name: _MARK}}}  # fmt: skip
            yield Place(f"{code}.{name} in the stream", 200, _stream([failed]).replace(f'"{_MARK}"', _MARK))


_HEADERS = [f"x-codex-{window}-{name}" for window in ("primary", "secondary")
            for name in ("used-percent", "window-minutes", "reset-at", "reset-after-seconds")]  # fmt: skip


def _in_headers() -> Iterator[Place]:
    error = json.dumps({"error": {"type": "usage_limit_reached", "message": "no"}})
    for status in (429, 503):
        yield Place(f"Retry-After of a {status}", status, error, "Retry-After")
    for header in _HEADERS:
        yield Place(f"{header} of an answer", 200, _stream(_events()), header)
        yield Place(f"{header} of a refusal", 429, error, header)


PLACES = [*_in_events(), *_in_refusals(), *_in_headers()]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    numbers: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self._answer(404, b"{}", {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        found = re.search(rb"place (\d+) number (\d+)", body)
        assert found is not None
        place, number = PLACES[int(found[1])], self.numbers[int(found[2])]
        headers = {"Content-Type": "text/event-stream" if place.status == 200 else "application/json"}
        if place.header:
            headers[place.header] = number.strip('"')
        self._answer(place.status, place.body.replace(_MARK, number).encode(), headers)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


@contextmanager
def hostile_upstream(numbers: list[str]) -> Iterator[str]:
    """Its base URL; a request that says ``place 3 number 4`` gets that number in that place."""
    handler = type("Handler", (_Handler,), {"numbers": numbers})
    with serving(_Server(("127.0.0.1", 0), handler)) as server:
        assert threading.active_count()
        yield f"http://127.0.0.1:{server.server_address[1]}"
