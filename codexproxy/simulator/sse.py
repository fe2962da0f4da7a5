"""Events written down as server-sent events, in plain and in unusual ways (WHATWG HTML, server-sent events). Pure."""

from codexproxy.simulator.events import Frame
from codexproxy.simulator.rules import Active

_UNUSUAL = (
    "crlf",
    "lone_cr",
    "bom",
    "no_space_after_data",
    "multi_line_data",
    "comments",
    "no_event_lines",
    "extra_fields",
    "no_final_blank_line",
    "done_marker",
)


def encode(frames: list[Frame], rules: Active) -> list[bytes]:
    """One byte string per event, written as the rules say."""
    plain = [b"event: %b\ndata: %b\n\n" % (type.encode(), payload) for type, payload in frames]
    if not any(rules.on(name) for name in _UNUSUAL):
        return plain
    written = [_write(type, payload, rules) for type, payload in frames]
    if rules.on("done_marker"):
        written.append(b"data: [DONE]\n\n")
    if rules.on("no_final_blank_line") and written:
        written[-1] = written[-1][:-1]
    if rules.on("bom") and written:
        written[0] = b"\xef\xbb\xbf" + written[0]
    ending = b"\r\n" if rules.on("crlf") else b"\r" if rules.on("lone_cr") else b"\n"
    return [text.replace(b"\n", ending) for text in written]


def encode_one(frame: Frame, rules: Active) -> bytes:
    """A single event that was not foreseen, such as a keepalive."""
    ending = b"\r\n" if rules.on("crlf") else b"\r" if rules.on("lone_cr") else b"\n"
    return _write(*frame, rules).replace(b"\n", ending)


def _write(type: str, payload: bytes, rules: Active) -> bytes:
    space = b"" if rules.on("no_space_after_data") else b" "
    lines = []
    if rules.on("comments"):
        lines += [b": a comment", b":"]
    if rules.on("extra_fields"):
        lines += [b"id: 7", b"retry: 3000", b"unknown: field", b"nocolon"]
    if not rules.on("no_event_lines"):
        lines.append(b"event:" + space + type.encode())
    # JSON allows white space after its first brace, so that is where a line may end.
    parts = [payload[:1], payload[1:]] if rules.on("multi_line_data") else [payload]
    lines += [b"data:" + space + part for part in parts]
    return b"\n".join(lines) + b"\n\n"
