"""Requests that two servers in a row might read differently, so that one of them hides another."""

from collections.abc import Iterator
from dataclasses import dataclass

CHAT = b"/v1/chat/completions"

# Texts of the turns: the one that is really asked for, and the one that hides.
OPEN, HIDDEN = b"asked-in-the-open", b"hidden-in-a-body"


@dataclass(frozen=True, slots=True)
class Shape:
    """One connection's worth of bytes.

    Attributes:
        name: What is odd.
        data: What is sent.
        turns: Whether its open text may reach the upstream.
        behind: Whether the other request stands behind it for a lenient reader, and is answered as such; inside
            of it, it never may reach the upstream.
        waits: Whether a server may well wait for more of it.
    """

    name: str
    data: bytes
    turns: bool = False
    behind: bool = False
    waits: bool = False

    @property
    def method(self) -> str:
        """The request's method, where it decides how the answer ends."""
        return "HEAD" if self.data.startswith(b"HEAD") else "POST"

    @property
    def closes(self) -> bool:
        """Whether the connection ends with its answer, as HTTP/1.0 has it."""
        return b" HTTP/1.0" in self.data


def turn(text: bytes) -> bytes:
    """A chat request's body."""
    return b'{"model":"gpt-5.2","messages":[{"role":"user","content":"%s"}]}' % text


def head(key: bytes, *lines: bytes, first: bytes = b"POST " + CHAT + b" HTTP/1.1", host: bytes = b"localhost") -> bytes:
    """A request's head."""
    fixed = [first, *([b"Host: " + host] if host else []), b"Authorization: Bearer " + key]
    return b"\r\n".join([*fixed, *lines, b"", b""])


def chunk(data: bytes, size: bytes | None = None, extension: bytes = b"", end: bytes = b"\r\n") -> bytes:
    """One chunk of a chunked body (RFC 9112 §7.1)."""
    return (b"%x" % len(data) if size is None else size) + extension + b"\r\n" + data + end


def length(value: bytes | int) -> bytes:
    return b"Content-Length: " + (value if isinstance(value, bytes) else b"%d" % value)


LAST = b"0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"


def shapes(key: bytes) -> Iterator[Shape]:
    """Every shape there is.

    Args:
        key: Lets the requests pass, also the hidden ones.
    """
    hidden = head(key, length(len(turn(HIDDEN)))) + turn(HIDDEN)
    for make in (_two_framings, _codings, _lengths, _chunk_sizes, _trailers, _lines, _targets, _bodies_of_others):
        yield from make(key, hidden)


def _two_framings(key: bytes, hidden: bytes) -> Iterator[Shape]:
    both = LAST + hidden
    yield Shape("CL.TE", head(key, length(len(both)), CHUNKED) + both)
    yield Shape("TE before CL", head(key, CHUNKED, length(len(both))) + both)
    inside = chunk(hidden) + LAST
    yield Shape("TE.CL", head(key, length(4), CHUNKED) + inside)
    yield Shape("TE.CL with length zero", head(key, length(0), CHUNKED) + inside)
    for odd in (b"Transfer_Encoding: chunked", b"Transfer-Encoding\x00: chunked", b"X: y\rTransfer-Encoding: chunked"):
        yield Shape(f"CL and {odd!r}", head(key, length(len(both)), odd) + both)
    body = turn(OPEN)
    yield Shape(
        "CL and an underscored TE with a proper body",
        head(key, length(len(body)), b"Transfer_Encoding: chunked") + body,
        turns=True,
    )
    yield Shape("an underscored CL", head(key, length(len(body)), b"Content_Length: 4") + body, turns=True)
    yield Shape("hop-by-hop CL", head(key, length(len(body)), b"Connection: Content-Length") + body, turns=True)
    yield Shape("hop-by-hop TE", head(key, CHUNKED, b"Connection: Transfer-Encoding") + chunk(body) + LAST, turns=True)


def _codings(key: bytes, hidden: bytes) -> Iterator[Shape]:
    body = chunk(turn(OPEN)) + LAST
    for value in (b"Chunked", b"CHUNKED", b"chunked ", b"\tchunked", b"  chunked\t"):
        yield Shape(f"TE {value!r}", head(key, b"Transfer-Encoding:" + value) + body, turns=True)
    odd = (b"xchunked", b"chunkedx", b"chunked, chunked", b"chunked, identity", b"identity, chunked", b"identity",
           b"gzip, chunked", b"gzip", b'"chunked"', b"chunked;q=1", b",chunked", b"\x0bchunked", b"chunked\x00", b"")  # fmt: skip
    for value in odd:
        yield Shape(f"TE {value!r}", head(key, b"Transfer-Encoding: " + value) + body, turns=True)
        both = head(key, length(len(LAST + hidden)), b"Transfer-Encoding: " + value) + LAST + hidden
        yield Shape(f"TE {value!r} and CL", both)
    yield Shape("TE twice", head(key, CHUNKED, CHUNKED) + body, turns=True)
    yield Shape("TE and TE identity", head(key, CHUNKED, b"Transfer-Encoding: identity") + body, turns=True)
    yield Shape("TE with a space before the colon", head(key, b"Transfer-Encoding : chunked") + body)
    yield Shape("TE folded", head(key, b"Transfer-Encoding:\r\n chunked") + body)
    yield Shape("TE folded behind another", head(key, length(4), b"X-A: b\r\n Transfer-Encoding: chunked") + body)
    yield Shape(
        "TE with HTTP/1.0", head(key, CHUNKED, first=b"POST " + CHAT + b" HTTP/1.0") + chunk(turn(OPEN)) + LAST, True
    )


def _lengths(key: bytes, hidden: bytes) -> Iterator[Shape]:
    body = turn(OPEN)
    size = len(body)
    yield Shape("CL with zeros in front", head(key, length(b"000%d" % size)) + body, turns=True)
    yield Shape("CL with blanks around", head(key, b"Content-Length:\t %d \t" % size) + body, turns=True)
    yield Shape("CL twice the same", head(key, length(size), length(size)) + body, turns=True)
    yield Shape("CL in a list", head(key, length(b"%d, %d" % (size, size))) + body, turns=True)
    values = (b"+%d", b"-%d", b"0x%x", b"%d.0", b"%de0", b"%d_0", b"%d 1", b"1 %d", b"%d,", b"%d;", b'"%d"', b"%d\x00",
              b"%d\x0b", b"\xd9\xa5%d", b"9999999999999999999999999%d")  # fmt: skip
    for value in values:
        yield Shape(f"CL {value!r}", head(key, length(value % size)) + body, waits=b"99" in value)
    yield Shape("CL empty", head(key, b"Content-Length: ") + hidden)
    for first, second in ((0, len(hidden)), (len(hidden), 0), (size, size + len(hidden)), (size + len(hidden), size)):
        yield Shape(f"CL {first} and {second}", head(key, length(first), length(second)) + body + hidden)
    yield Shape("CL with a space before the colon", head(key, b"Content-Length : %d" % size) + body)
    yield Shape("CL folded", head(key, b"Content-Length:\r\n %d" % size) + body)


def _chunk_sizes(key: bytes, hidden: bytes) -> Iterator[Shape]:
    text = turn(OPEN)
    size = len(text)
    chunked = head(key, CHUNKED)
    for extension in (b";a=b", b";a", b' ; a = "b"', b";a=" + b"x" * 500):
        yield Shape(f"chunk extension {extension[:12]!r}", chunked + chunk(text, extension=extension) + LAST, True)
    for extension in (b";a=b\nc", b";a\rb", b'; a="\r\n0\r\n\r\n', b"\n", b";\x00", b" x", b";a=" + b"x" * 40_000):
        data = chunked + chunk(text, extension=extension) + LAST
        yield Shape(
            f"chunk extension {extension[:12]!r}", data + hidden if b"\n" in extension else data, True, behind=True
        )
    yield Shape("chunk size with zeros", chunked + chunk(text, b"00000%x" % size) + LAST, True)
    for value in (b"0x%x", b"+%x", b"-%x", b" %x", b"%x_0", b"%xg", b"", b"%x" + b"0" * 20):
        written = value % size if b"%" in value else value
        yield Shape(f"chunk size {value!r}", chunked + chunk(text, written) + LAST, waits=b"000" in value)
    for end in (b"", b"\n", b"\r", b"XX", b"X\r\n", b"\r\n\r\n"):
        yield Shape(f"chunk end {end!r}", chunked + chunk(text, end=end) + LAST + hidden, True, behind=True)
    yield Shape("chunk size ended by a line feed", chunked + b"%x\n" % size + text + b"\r\n" + LAST, True)
    yield Shape("many chunks", chunked + b"".join(chunk(bytes([byte])) for byte in text) + LAST, True)
    yield Shape("the last chunk has many zeros", chunked + chunk(text) + b"0000\r\n\r\n", True)


def _trailers(key: bytes, hidden: bytes) -> Iterator[Shape]:
    chunked = head(key, CHUNKED) + chunk(turn(OPEN))
    for trailer in (b"X-A: b", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Host: elsewhere",
                    b"Authorization: Bearer no", b"X_A: b", b"X-A: b\r\nX-B: c"):  # fmt: skip
        yield Shape(f"trailer {trailer!r}", chunked + b"0\r\n" + trailer + b"\r\n\r\n", True)
    for trailer in (b"no colon", b" folded", b"X-A : b", b"X-A: \x00", b": empty", b"X-A: b\n\n" + hidden):
        yield Shape(f"trailer {trailer[:12]!r}", chunked + b"0\r\n" + trailer + b"\r\n\r\n", True, behind=True)


def _lines(key: bytes, hidden: bytes) -> Iterator[Shape]:
    body = turn(OPEN)
    size = length(len(body))
    yield Shape("line feeds only", head(key, size).replace(b"\r\n", b"\n") + body, turns=True)
    for odd in (b"X-A: b\n", b"X-A: b\r", b"X-A: b\r\r\n", b"X-A: b\nX-B: c", b"X-A: b\n\n"):
        yield Shape(f"line {odd!r}", head(key, odd, size) + body, turns=True)
        yield Shape(f"line {odd!r} and a hidden request", head(key, length(len(hidden)), odd) + hidden)
    for odd in (b"X-A: \x00", b"X\x00A: b", b": b", b"no colon", b" X-A: b", b"\tX-A: b", b"X A: b", b"X(A): b",
                b"X-A: b\r\n\tc", b"X-A: \x01", b"X-A: \x7f", b"X-A: \xff", b"X\xffA: b", b"X_A: b"):  # fmt: skip
        yield Shape(f"line {odd!r}", head(key, odd, size) + body, turns=True)
    yield Shape("a huge header", head(key, b"X-A: " + b"b" * 50_000, size) + body)
    yield Shape("a thousand headers", head(key, *(b"X-%d: %s" % (n, b"b" * 60) for n in range(1000)), size) + body)
    yield Shape("an empty line in front", b"\r\n" + head(key, size) + body, turns=True)
    yield Shape("rubbish in front", b"\x16\x03\x01 rubbish\r\n" + head(key, size) + body)
    yield Shape("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hidden)
    upgrade = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__")
    yield Shape("an upgrade to HTTP/2", head(key, *upgrade, size) + body, turns=True)


def _targets(key: bytes, hidden: bytes) -> Iterator[Shape]:
    body = turn(OPEN)
    size = length(len(body))
    for first in (b"POST http://localhost" + CHAT + b" HTTP/1.1", b"POST https://elsewhere.example" + CHAT + b" HTTP/1.1",
                  b"POST  " + CHAT + b" HTTP/1.1", b"POST\t" + CHAT + b" HTTP/1.1", b"POST " + CHAT + b"  HTTP/1.1",
                  b"POST " + CHAT + b" x HTTP/1.1", b"POST " + CHAT + b" HTTP/1.1 ", b"POST " + CHAT + b" HTTP/1.2",
                  b"POST " + CHAT + b" HTTP/9.1", b"POST " + CHAT + b" HTTP/01.1", b"POST " + CHAT + b" http/1.1",
                  b"POST " + CHAT + b"#x HTTP/1.1", b"POST " + CHAT + b"\x00 HTTP/1.1", b"POST " + CHAT + b"%00 HTTP/1.1",
                  b"POST " + CHAT + b"%0d%0aX: HTTP/1.1", b"POST " + CHAT + b"\xff HTTP/1.1", b"post " + CHAT + b" HTTP/1.1",
                  b"PO\x00ST " + CHAT + b" HTTP/1.1", b"POST * HTTP/1.1", b"OPTIONS * HTTP/1.1", b"POST /../.." + CHAT + b" HTTP/1.1",
                  b"CONNECT localhost:443 HTTP/1.1", b"TRACE / HTTP/1.1", b"POST",
                  b"POST /" + b"x" * 20_000 + b" HTTP/1.1"):  # fmt: skip
        yield Shape(f"target {first[:48]!r}", head(key, size, first=first) + body, turns=True)
    for host in (
        b"",
        b"localhost\r\nHost: elsewhere",
        b"localhost/path",
        b"user@localhost",
        b"localhost:x",
        b"a b",
        b"\x00",
    ):
        yield Shape(f"host {host!r}", head(key, size, host=host) + body, turns=True)


def _bodies_of_others(key: bytes, hidden: bytes) -> Iterator[Shape]:
    size = length(len(hidden))
    for first in (b"GET /v1/models HTTP/1.1", b"GET /health HTTP/1.1", b"HEAD /health HTTP/1.1", b"DELETE /v1/nothing HTTP/1.1",
                  b"POST /nowhere HTTP/1.1", b"OPTIONS " + CHAT + b" HTTP/1.1"):  # fmt: skip
        yield Shape(f"a body for {first!r}", head(key, size, first=first) + hidden)
        yield Shape(f"chunks for {first!r}", head(key, CHUNKED, first=first) + chunk(hidden) + LAST)
    yield Shape("the body of a refused key", head(b"wrong", size) + hidden)
    yield Shape("a body that is a request", head(key, size) + hidden)
    yield Shape("chunks that are a request", head(key, CHUNKED) + chunk(hidden) + LAST)
    yield Shape("an expected continue", head(key, size, b"Expect: 100-continue") + hidden)
    yield Shape("an expectation of something else", head(key, size, b"Expect: more") + hidden)
    yield Shape("an unknown content coding", head(key, size, b"Content-Encoding: br") + hidden)
