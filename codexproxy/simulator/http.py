"""A small HTTP/1.1 server side: reads requests (RFC 9112).

It is written out here because the simulator has to break the protocol on
purpose, which no ordinary server allows.
"""

import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

import orjson
import zstandard

MAX_HEAD = 256 * 1024
MAX_BODY = 1024 * 1024 * 1024
READ_SIZE = 256 * 1024

Headers = list[tuple[str, str]]


class BadRequest(Exception):
    """The bytes on the connection are no HTTP request we can answer; it is closed after the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Socket(Protocol):
    """The part of a socket the reader needs."""

    def recv(self, size: int, /) -> bytes: ...


@dataclass(slots=True)
class Request:
    """One received request.

    Attributes:
        method: In capitals.
        path: Decoded, without the query.
        query: Parsed query parameters; the last one of a name counts.
        raw_query: The query as sent.
        headers: Names in lower case; values of repeated headers joined by a comma.
        raw_headers: Names as sent, in order.
        raw_body: Body after transfer decoding, still in its content encoding.
        body: Body after content decoding.
    """

    method: str
    path: str
    query: dict[str, str]
    raw_query: str
    headers: dict[str, str]
    raw_headers: Headers
    version: str
    raw_body: bytes = b""
    body: bytes = b""
    scheme: str = "http"
    _json: Any = field(default=None, repr=False)

    @property
    def keep_alive(self) -> bool:
        """Whether the client lets the connection live after the answer (RFC 9112 §9.3)."""
        connection = self.headers.get("connection", "").lower()
        return "close" not in connection if self.version == "HTTP/1.1" else "keep-alive" in connection

    @property
    def base_url(self) -> str:
        """Where the client believes us to be."""
        return f"{self.scheme}://{self.headers.get('host', 'localhost')}"

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: It is not JSON.
        """
        if self._json is None:
            self._json = orjson.loads(self.body)
        return self._json

    def contains(self, marker: str) -> bool:
        """Whether the text occurs anywhere in the request: target, headers or body."""
        # JSON may hold it as it is, with its quotes escaped, or in ASCII only.
        forms = {marker.encode(), orjson.dumps(marker)[1:-1], json.dumps(marker)[1:-1].encode()}
        if any(form in self.body for form in forms):
            return True
        return marker in f"{self.path}?{self.raw_query}" or any(marker in value for _, value in self.raw_headers)


class Reader:
    """Buffered reading from one connection."""

    def __init__(self, sock: Socket) -> None:
        self._sock = sock
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Adds bytes that somebody else took off the socket."""
        self._buffer += data

    def _fill(self) -> bool:
        data = self._sock.recv(READ_SIZE)
        self._buffer += data
        return bool(data)

    def until(self, mark: bytes, limit: int) -> bytes | None:
        """Bytes up to and including the mark; None when the peer closed before a first byte.

        Raises:
            BadRequest: The limit was passed, or the peer closed in the middle.
        """
        searched = 0
        while (end := self._buffer.find(mark, searched)) < 0:
            searched = max(0, len(self._buffer) - len(mark) + 1)
            if len(self._buffer) > limit:
                raise BadRequest(431, "head too large")
            if not self._fill():
                if self._buffer:
                    raise BadRequest(400, "connection closed in the middle of a request")
                return None
        return self._take(end + len(mark))

    def exactly(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            BadRequest: The peer closed before all of them came.
        """
        while len(self._buffer) < size:
            if not self._fill():
                raise BadRequest(400, "connection closed in the middle of a body")
        return self._take(size)

    def _take(self, size: int) -> bytes:
        data = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        return data


def read_request(reader: Reader, announce: Callable[[bytes], object], scheme: str = "http") -> Request | None:
    """Reads one request.

    Args:
        reader: The connection.
        announce: Called with an interim answer when the client waits for one.
        scheme: ``http`` or ``https``, for links.

    Returns:
        The request, or None when the client closed the connection between requests.

    Raises:
        BadRequest: The bytes are not a request, or are too many.
    """
    head = reader.until(b"\r\n\r\n", MAX_HEAD)
    if head is None:
        return None
    request = parse_head(head)
    request.scheme = scheme
    if request.headers.get("expect", "").lower() == "100-continue":
        announce(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.raw_body = _read_body(reader, request.headers)
    request.body = decode_body(request.raw_body, request.headers.get("content-encoding", ""))
    return request


def parse_head(head: bytes) -> Request:
    """Parses request line and header fields.

    Raises:
        BadRequest: They are malformed.
    """
    line, *fields = head.decode("latin-1").strip("\r\n").split("\r\n")
    parts = line.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequest(400, f"bad request line {line[:80]!r}")
    method, target, version = parts
    raw_headers = [_parse_field(text) for text in fields]
    path, _, raw_query = target.partition("?")
    query = dict(parse_qsl(raw_query, keep_blank_values=True))
    return Request(method, unquote(path), query, raw_query, _join(raw_headers), raw_headers, version)


def _parse_field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name or name != name.strip():
        raise BadRequest(400, f"bad header field {text[:80]!r}")
    return name, value.strip()


def _join(fields: Headers) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in fields:
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers


def _read_body(reader: Reader, headers: dict[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return b"".join(_read_chunks(reader))
    length = headers.get("content-length", "0")
    if not length.isdigit():
        raise BadRequest(400, "bad content-length")
    if int(length) > MAX_BODY:
        raise BadRequest(413, "body too large")
    return reader.exactly(int(length))


def _read_chunks(reader: Reader) -> Iterable[bytes]:
    total = 0
    while True:
        line = reader.until(b"\r\n", MAX_HEAD) or b""
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            raise BadRequest(400, "bad chunk size") from None
        total += size
        if total > MAX_BODY:
            raise BadRequest(413, "body too large")
        if size == 0:
            _skip_trailers(reader)
            return
        yield reader.exactly(size + 2)[:-2]


def _skip_trailers(reader: Reader) -> None:
    while (line := reader.until(b"\r\n", MAX_HEAD)) != b"\r\n":
        if line is None:
            raise BadRequest(400, "connection closed in the middle of a body")


def decode_body(raw: bytes, encoding: str) -> bytes:
    """Undoes the content encoding (gzip, deflate, zstd).

    Raises:
        BadRequest: Unknown encoding, or bytes that are not in it.
    """
    for name in reversed([part.strip().lower() for part in encoding.split(",") if part.strip()]):
        decode = _DECODERS.get(name)
        if decode is None:
            raise BadRequest(415, f"unsupported content-encoding {name!r}")
        try:
            raw = decode(raw)
        except (zlib.error, zstandard.ZstdError) as error:
            raise BadRequest(400, f"body is not {name}: {error}") from error
    return raw


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": lambda raw: raw,
    "gzip": lambda raw: zlib.decompress(raw, 31),
    "deflate": zlib.decompress,
    "zstd": lambda raw: _unzstd(raw),
}


def _unzstd(raw: bytes) -> bytes:
    decoder = zstandard.ZstdDecompressor().decompressobj()
    data = decoder.decompress(raw)
    if not decoder.eof:
        raise zstandard.ZstdError("the frame is cut short")
    return data
