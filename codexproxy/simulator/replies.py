"""Answers as bytes: heads, chunks, whole replies (RFC 9112)."""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson

Headers = list[tuple[str, str]]


def render_head(status: int, headers: Headers) -> bytes:
    """Status line and header fields, blank line included."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    lines = [f"HTTP/1.1 {status} {reason}"] + [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; nothing for no data, which would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


LAST_CHUNK = b"0\r\n\r\n"


@dataclass(slots=True)
class Reply:
    """A whole answer with a body of known length."""

    status: int = 200
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    def render(self, keep_alive: bool, head_only: bool = False) -> bytes:
        """The bytes on the wire."""
        headers = [*self.headers, ("content-length", str(len(self.body)))]
        headers.append(("connection", "keep-alive" if keep_alive else "close"))
        return render_head(self.status, headers) + (b"" if head_only else self.body)


def json_reply(value: Any, status: int = 200, headers: Headers | None = None) -> Reply:
    """A JSON answer."""
    return Reply(status, [("content-type", "application/json"), *(headers or [])], orjson.dumps(value))


def html_reply(text: str, status: int = 200, headers: Headers | None = None) -> Reply:
    """An HTML page."""
    return Reply(status, [("content-type", "text/html; charset=utf-8"), *(headers or [])], text.encode())


def redirect(location: str) -> Reply:
    """A 302 to another place."""
    return Reply(302, [("location", location), ("cache-control", "no-store")])
