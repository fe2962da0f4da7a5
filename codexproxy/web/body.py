"""A request's body: bounded, unpacked, and one JSON object."""

import json
import re
from contextlib import suppress
from typing import Any

import orjson

from codexproxy.errors import InvalidRequest, UnsupportedEncoding
from codexproxy.web.receiving import receive
from codexproxy.web.unpacking import Body, too_large, unpack

# Each layer may be as large as the limit, so there must not be any number of them.
_MOST_ENCODINGS = 3
# Halves of an emoji, which some clients send, and UTF-16 are refused by orjson, and upstream would refuse
# them, too. The standard library takes them, but at a tenth of the speed: other mistakes do not go there.
_MENDABLE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]|\x00")
# Levels of nesting that orjson can write.
DEEPEST = 254


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
        raise UnsupportedEncoding(f"The body is packed more than {_MOST_ENCODINGS} times over. Please pack it once.")
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
    body = bytes(body).removeprefix(b"\xef\xbb\xbf")
    if not body.strip():
        raise InvalidRequest("The request has no body. Please send a JSON object.", code="invalid_json")
    value = _parse(body)
    _check_depth(body, value)
    if not isinstance(value, dict):
        raise InvalidRequest("The request body must be a JSON object.", code="invalid_type")
    return value


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        refused = error
    if _MENDABLE.search(body):
        with suppress(ValueError, RecursionError):
            return _mended(json.loads(body, parse_constant=_refuse_constant))
    raise InvalidRequest(f"The body is not valid JSON: {_place(body, refused)}.", code="invalid_json") from refused


def _place(body: bytes, refused: orjson.JSONDecodeError) -> str:
    """What is wrong with a body and where; what is no UTF-8 has no place in orjson's words."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        before = body[: error.start]
        line, column = before.count(b"\n") + 1, len(before[before.rfind(b"\n") + 1 :].decode()) + 1
        return f"it is not UTF-8 (line {line}, column {column}); please send it in that encoding"
    return f"{refused.msg} (line {refused.lineno}, column {refused.colno})"


def _check_depth(body: bytes, value: Any) -> None:
    # What is nested deeper than orjson writes, no upstream reads; most bodies cannot be, at a glance.
    if _has_few_openings(body):
        return
    try:
        orjson.dumps(value)
    except TypeError:
        raise InvalidRequest(
            f"The request is nested more than {DEEPEST} levels deep. Please send a flatter one.", code="invalid_json"
        ) from None


def _has_few_openings(body: bytes) -> bool:
    # ``count`` looks at every byte by itself; with ``find`` 100 kB take a quarter of the time.
    openings = 0
    for bracket in (b"[", b"{"):
        place = body.find(bracket)
        while place >= 0 and openings <= DEEPEST:
            openings += 1
            place = body.find(bracket, place + 1)
    return openings <= DEEPEST


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_mended(entry) for entry in value]
    if isinstance(value, dict):
        return {_mended(key): _mended(entry) for key, entry in value.items()}
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)
