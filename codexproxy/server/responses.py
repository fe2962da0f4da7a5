"""How JSON and streams leave."""

from collections.abc import Iterator
from typing import Any

from flask import Response

from codexproxy.gunicorn.streamed_response import StreamedResponse
from codexproxy.protocol.events import encode_json
from codexproxy.server.request_context import RequestContext

# A comment line, which every SSE client skips (WHATWG HTML §9.2.6).
HEARTBEAT = b": keepalive\n\n"

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}


def json_reply(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(encode_json(value), status=status, content_type="application/json")


def stream_reply(pieces: Iterator[bytes], context: RequestContext) -> Response:
    """An answer that is sent piece by piece; the request ends with it."""
    response = StreamedResponse(pieces, headers=STREAM_HEADERS)
    context.follow(response)
    return response
