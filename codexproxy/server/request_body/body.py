"""A request's body: bounded, unpacked, and one JSON object."""

import codecs
import json
import re
from typing import Any

import gevent
import orjson
from gunicorn.http.errors import ParseException

from codexproxy.errors import InvalidRequest, UnsupportedEncoding
from codexproxy.server.request_body.content_encoding import Body, too_large, unpack
from codexproxy.server.request_body.fairness import let_others_run
from codexproxy.server.request_body.large_json import DEEPEST, NotJSON, loads, read_object, too_deep

# Each layer may be as large as the limit, so there must not be any number of them.
_MOST_ENCODINGS = 3
# Bodies up to here are parsed at once, larger ones only if they are not made of many values.
_SMALL = 128 * 1024
_MEDIUM = 2 * 1024 * 1024
_FEW_VALUES = 30_000
_BOM = b"\xef\xbb\xbf"
_NOT_BLANK = re.compile(rb"[^ \t\r\n]")
# How values begin that are no objects.
_OTHER_VALUES = b'["-0123456789tfn'


def read_body(environ: dict[str, Any], limit: int) -> Body:
    """The request's body, unpacked.

    Args:
        environ: The WSGI environment.
        limit: Most bytes, before and after unpacking.

    Raises:
        BodyTooLarge: There is more.
        UnsupportedEncoding: The content encoding is not known.
        InvalidRequest: It did not arrive whole, or not in time, or the packed body is damaged.
    """
    announced = environ.get("CONTENT_LENGTH") or ""
    if announced.isdigit() and int(announced) > limit:
        raise too_large(limit)
    _refuse_coding(environ)
    # One byte more than allowed is asked for: a chunked body tells its size only so.
    body = receive(environ["wsgi.input"], int(announced) if announced.isdigit() else limit + 1)
    if len(body) > limit:
        raise too_large(limit)
    if announced.isdigit() and len(body) < int(announced):
        raise InvalidRequest(
            f"The body ended after {len(body)} of the {announced} bytes announced.", code="invalid_http"
        )
    encodings = environ.get("HTTP_CONTENT_ENCODING", "").lower().split(",")
    if len(encodings) > _MOST_ENCODINGS:
        raise UnsupportedEncoding(f"The body is compressed more than {_MOST_ENCODINGS} times. Please compress it once.")
    for encoding in reversed(encodings):
        body = unpack(body, encoding.strip(), limit)
    return body


def _refuse_coding(environ: dict[str, Any]) -> None:
    # gunicorn lets `gzip, chunked` pass, and hands out what is packed (RFC 9112 §6.1).
    coding = environ.get("HTTP_TRANSFER_ENCODING")
    if coding is not None and coding.strip().lower() != "chunked":
        raise InvalidRequest(
            "The body's transfer coding is not known here. Please send it as it is, or in chunks.", code="invalid_http"
        )


def parse_object(body: Body) -> dict[str, Any]:
    """The body's JSON object, whatever the content type says.

    Raises:
        InvalidRequest: It is not JSON (line and column are named) or not an object.
    """
    body = _as_utf8(body)
    start = _beginning(body, len(_BOM) if body[:3] == _BOM else 0)
    if start is None:
        raise InvalidRequest("The request has no body. Please send a JSON object.", code="invalid_json")
    if len(body) > _MEDIUM and body[start] in _OTHER_VALUES:
        # Neither does it matter whether that is JSON to its end.
        raise _no_object()
    try:
        value = _parse(body, start)
    except NotJSON as error:
        raise InvalidRequest(f"The body is not valid JSON: {_place(body, error)}.", code="invalid_json") from error
    if not isinstance(value, dict):
        raise _no_object()
    return value


def _no_object() -> InvalidRequest:
    return InvalidRequest("The request body must be a JSON object.", code="invalid_type")


def _beginning(body: Body, start: int) -> int | None:
    """Where the first byte stands that is no blank."""
    for place in range(start, len(body), _SMALL):
        found = _NOT_BLANK.search(body, place, place + _SMALL)
        if found is not None:
            return found.start()
        let_others_run()
    return None


def _as_utf8(body: Body) -> Body:
    # A zero is among the first two characters of every other encoding that JSON may have (RFC 4627 §3).
    if b"\0" not in body[:4]:
        return body
    decoder = codecs.getincrementaldecoder(json.detect_encoding(bytes(body[:4])))(errors="replace")
    whole = bytearray()
    for place in range(0, len(body), _SMALL):
        whole += decoder.decode(bytes(body[place : place + _SMALL])).encode("utf-8", "replace")
        let_others_run()
    return whole


def _parse(body: Body, start: int) -> Any:
    if body[start] == ord("{") and not _is_quick(body):
        return read_object(body, start)
    if len(body) > _MEDIUM:
        # It begins like no value.
        raise NotJSON("unexpected character", start)
    text = body[start:] if start else body
    try:
        value = loads(text)
    except orjson.JSONDecodeError as error:
        raise NotJSON(error.msg, start + len(error.doc[: error.pos].encode("utf-8", "replace"))) from error
    _check_depth(text, value)
    return value


def _is_quick(body: Body) -> bool:
    """Whether parsing all of it at once takes some 10 ms at most; texts with many commas are taken for lists."""
    if len(body) <= _SMALL:
        return True
    return len(body) <= _MEDIUM and sum(body.count(mark) for mark in (b",", b"[", b"{")) <= _FEW_VALUES


def _place(body: Body, error: NotJSON) -> str:
    """What is wrong with a body and where; what is no UTF-8 has no place in orjson's words."""
    what, place = str(error), error.place
    wrong = _decoded(body, 0, len(body))[1]
    if wrong is not None:
        what, place = "it is not UTF-8", wrong
    line = body.count(b"\n", 0, place) + 1
    column = _decoded(body, body.rfind(b"\n", 0, place) + 1, place)[0] + 1
    advice = "; please send it in that encoding" if wrong is not None else ""
    return f"{what} (line {line}, column {column}){advice}"


def _decoded(body: Body, start: int, end: int) -> tuple[int, int | None]:
    """How many characters of UTF-8 stand in a part of a body, and where the first is that is none."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    characters = 0
    for place in range(start, end, _SMALL):
        held = len(decoder.getstate()[0])
        try:
            characters += len(decoder.decode(bytes(body[place : min(place + _SMALL, end)])))
        except UnicodeDecodeError as error:
            return characters, place - held + error.start
        let_others_run()
    return characters, None


def _check_depth(body: Body, value: Any) -> None:
    # What is nested deeper than orjson writes, no upstream reads; most bodies cannot be, at a glance.
    if _has_few_openings(body):
        return
    try:
        orjson.dumps(value)
    except TypeError:
        raise too_deep() from None


def _has_few_openings(body: Body) -> bool:
    # ``count`` looks at every byte by itself; with ``find`` 100 kB take a quarter of the time.
    openings = 0
    for bracket in (b"[", b"{"):
        place = body.find(bracket)
        while place >= 0 and openings <= DEEPEST:
            openings += 1
            place = body.find(bracket, place + 1)
    return openings <= DEEPEST


# Each bite has to arrive within the patience, and all of them within the total; nearly all bodies are one bite.
BITE = 256 * 1024
PATIENCE = 60.0
# 64 MiB at 75 kB/s.
TOTAL = 900.0


def receive(stream: Any, size: int, patience: float = PATIENCE, total: float = TOTAL) -> bytes | bytearray:
    """Reads a body.

    Args:
        stream: ``wsgi.input``.
        size: Most bytes to read.
        patience: Seconds that each bite of 256 KiB may take.
        total: Seconds that all of it may take.

    Raises:
        InvalidRequest: It came too slowly (408), or it is no proper body.
    """
    try:
        # An exception, for gunicorn to know that nothing can follow on this connection.
        with gevent.Timeout(total, TimeoutError(f"{total:g} seconds for all of it")):
            return _bites(stream, size, patience)
    except TimeoutError as error:
        raise InvalidRequest(
            f"The request's body did not arrive in time ({error}). Please send it again.",
            code="request_timeout",
            status=408,
        ) from error
    except OSError as error:
        raise InvalidRequest("The body ended before it was complete.", code="invalid_http") from error
    except ParseException as error:
        raise InvalidRequest(f"The chunks of the body cannot be read: {error}", code="invalid_http") from error


def _bites(stream: Any, size: int, patience: float) -> bytes | bytearray:
    body = bytearray()
    while size > 0:
        with gevent.Timeout(patience, TimeoutError(f"{patience:g} seconds for each 256 KiB")):
            part = bytes(stream.read(min(size, BITE)))
        if not body and len(part) < BITE:
            return part
        # In place: joining all of 64 MB at the end would hold up everybody else for that long.
        body += part
        size -= len(part)
        if len(part) < BITE:
            break
    return body
