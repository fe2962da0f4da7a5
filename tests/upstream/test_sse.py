"""Bytes in any chunking become the same events."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sseclient import SSEClient

from codexproxy.errors import UpstreamFailed
from codexproxy.protocol.events import KNOWN, Event
from codexproxy.upstream.chatgpt import sse
from codexproxy.upstream.chatgpt.source import SkippedEvents
from codexproxy.upstream.chatgpt.sse import Decoder

DELTA = {"type": "response.output_text.delta", "delta": "naïve \u2028 \x85 😀 ok"}
COMPLETED = {"type": "response.completed", "response": {"id": "resp_1"}}


def framed(*events: dict, eol: str = "\n") -> bytes:
    lines = [f"event: {data['type']}{eol}data: {json.dumps(data, ensure_ascii=False)}{eol}{eol}" for data in events]
    return "".join(lines).encode()


def decoded(*chunks: bytes) -> list[tuple[str, dict]]:
    decoder = Decoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)] + decoder.end()
    return [(event.type, event.data) for event in events]


EXPECTED = [("response.output_text.delta", DELTA), ("response.completed", COMPLETED)]

FORMS = {
    "as upstream sends it": framed(DELTA, COMPLETED),
    "with CRLF": framed(DELTA, COMPLETED, eol="\r\n"),
    "with lone CR": framed(DELTA, COMPLETED, eol="\r"),
    "with a byte order mark": b"\xef\xbb\xbf" + framed(DELTA, COMPLETED),
    "without event lines": framed(DELTA, COMPLETED)
    .replace(b"event: response.output_text.delta\n", b"")
    .replace(b"event: response.completed\n", b""),
    "without spaces after the colon": framed(DELTA, COMPLETED).replace(b"data: ", b"data:"),
    "with comments between": b": hello\n\n" + framed(DELTA) + b": still here\n\n" + framed(COMPLETED),
    "with a comment inside": framed(DELTA).replace(b"\ndata:", b"\n: psst\ndata:") + framed(COMPLETED),
    "with data over several lines": framed(DELTA).replace(b', "delta"', b',\ndata: "delta"') + framed(COMPLETED),
    "with ids and retry": b"id: 7\nretry: 100\n" + framed(DELTA) + framed(COMPLETED),
    "with an event name that differs from the type": framed(DELTA).replace(b"event: response", b"event: other")
    + framed(COMPLETED),
    "without the last blank line": framed(DELTA, COMPLETED)[:-2],
    "with a DONE line at the end": framed(DELTA, COMPLETED) + b"data: [DONE]\n\n",
    "with blank lines at the start": b"\n\n\n" + framed(DELTA, COMPLETED),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 10_000])
def test_every_form_gives_the_same_events_in_every_chunking(form: str, size: int) -> None:
    raw = FORMS[form]
    assert decoded(*[raw[start : start + size] for start in range(0, len(raw), size)]) == EXPECTED


def test_frames_keep_the_bytes_they_came_with() -> None:
    raw = framed(DELTA, COMPLETED)
    assert b"".join(event.raw for event in Decoder().feed(raw)) == raw


def test_a_frame_is_known_by_the_type_in_its_json() -> None:
    raw = b'event: a\ndata: {"type":"b"}\n\n'
    assert decoded(raw) == [("b", {"type": "b"})]


def test_a_frame_without_any_type_keeps_its_event_name() -> None:
    assert decoded(b"event: keepalive\ndata: {}\n\n") == [("keepalive", {})]


NO_OBJECTS = {
    "a word": b"nonsense",
    "a list": b"[1]",
    "a number": b"3",
    "half an object": b"{",
    "an abyss": b"[" * 100_000,
    "the beginning of an event": b'{"type":"x.y","a":',
}


@pytest.mark.parametrize("payload", NO_OBJECTS.values(), ids=NO_OBJECTS)
@pytest.mark.parametrize("name", ["response.output_item.done", "response.completed", "error", "codex.rate_limits"])
def test_an_event_we_know_that_is_no_json_object_is_a_failure_of_upstream(name: str, payload: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        Decoder().feed(b"event: " + name.encode() + b"\ndata: " + payload + b"\n\n")


@pytest.mark.parametrize("eol", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("payload", NO_OBJECTS.values(), ids=NO_OBJECTS)
@pytest.mark.parametrize(
    ("head", "name"), [(b"event: x.y\n", "x.y"), (b"event: response.new\n", "response.new"), (b"", "message")]
)
def test_a_message_of_no_known_type_that_is_no_json_object_is_skipped_and_told(
    head: bytes, name: str, payload: bytes, eol: bytes
) -> None:
    skipped: list[str] = []
    decoder = Decoder(skipped.append)
    broken = (head + b"data: " + payload + b"\n\n").replace(b"\n", eol)
    frames = framed(DELTA, eol=eol.decode()) + broken + framed(COMPLETED, eol=eol.decode())
    assert [event.data for event in decoder.feed(frames)] == [DELTA, COMPLETED]
    assert skipped == [name]


def test_a_message_that_was_cut_off_at_the_end_is_no_skipped_one() -> None:
    skipped: list[str] = []
    decoder = Decoder(skipped.append)
    decoder.feed(b'data: {"type":"resp')
    assert (decoder.end(), skipped) == ([], [])


def test_skipped_events_are_all_counted_and_each_name_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    counted: list[str] = []
    skipped = SkippedEvents("main", counted.append)
    for name in ("ping", "ping", "message", *map(str, range(1000))):
        skipped(name)
    assert counted == ["main"] * 1003
    assert [record.message for record in caplog.records][:2] == [
        f"upstream 'main' sent an event '{name}' that is not JSON; it is skipped, and so are further ones"
        for name in ("ping", "message")
    ]
    assert len(caplog.records) == 50


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_good_events_are_delivered_before_a_broken_one_of_the_same_read(eol: str) -> None:
    decoder = Decoder()
    broken = f"event: response.in_progress{eol}data: nonsense{eol}{eol}".encode()
    events = decoder.feed(framed(DELTA, eol=eol) + broken + framed(COMPLETED, eol=eol))
    assert [event.data for event in events] == [DELTA]
    for _ in range(2):
        with pytest.raises(UpstreamFailed, match="not valid JSON"):
            decoder.feed(framed(COMPLETED, eol=eol))


def test_a_comment_is_not_the_beginning_of_an_event() -> None:
    decoder = Decoder()
    decoder.feed(framed(DELTA) + b": still he")
    assert not decoder.has_begun_event
    decoder.feed(b"re\n\nda")
    assert decoder.has_begun_event


def test_half_a_frame_at_the_end_is_dropped() -> None:
    raw = framed(DELTA, COMPLETED)
    assert decoded(raw[:-20]) == EXPECTED[:1]


def test_an_endless_event_is_refused_before_it_fills_the_memory() -> None:
    decoder = Decoder()
    megabyte = b"x" * 2**20
    with pytest.raises(UpstreamFailed, match="too large"):
        for _ in range(sse.MAX_FRAME_BYTES // len(megabyte) + 1):
            decoder.feed(megabyte)


def test_a_large_event_in_small_reads_costs_no_more_than_its_size() -> None:
    decoder = Decoder()
    assert decoder.feed(b'event: image\ndata: {"type":"image","b64":"') == []
    began = time.process_time()
    # Put together at every read, these 20 MB would be copied 10,000 times.
    for _ in range(10_000):
        assert decoder.feed(b"x" * 2000) == []
    (event,) = decoder.feed(b'"}\n\n')
    assert time.process_time() - began < 2
    assert len(event.data["b64"]) == 20_000_000


def test_invalid_utf8_is_replaced_and_does_not_end_the_stream() -> None:
    (event,) = Decoder().feed(b'data: {"type":"x","delta":"\xff"}\n\n')
    assert event.data["delta"] == "\ufffd"


def test_a_lone_surrogate_survives() -> None:
    (event,) = Decoder().feed(b'event: x\ndata: {"type":"x","delta":"\\ud83d"}\n\n')
    assert event.data["delta"] == "\ud83d"
    assert json.loads(Event.of(event.data).raw.split(b"data: ")[1]) == event.data


LINES = st.sampled_from(
    [
        b"event: response.output_text.delta",
        b"event: x",
        b"event: response.completed",
        b"event:",
        b'data: {"type":"response.output_text.delta","delta":"a"}',
        b'data: {"type":"x"}',
        b'data:{"delta":"\xc3\x85 \xe2\x80\xa8"}',
        b"data: {",
        b'data: "n":1}',
        b": comment",
        b"id: 1",
        b"nonsense",
        b"",
        b"",
        b"",
    ]
)


def reference(raw: bytes) -> tuple[list[tuple[str, dict]], bool]:
    """What sseclient-py alone makes of these bytes up to a known event that is no JSON object; whether there is one."""
    found = []
    for message in SSEClient([raw]).events():
        try:
            data = json.loads(message.data)
        except ValueError:
            data = None
        if isinstance(data, dict):
            found.append((data.get("type", message.event), data))
        elif message.event in KNOWN:
            return found, True
    return found, False


@given(lines=st.lists(LINES, max_size=30), eol=st.sampled_from([b"\n", b"\r\n", b"\r"]), data=st.data())
def test_the_short_way_and_sseclient_agree_on_any_bytes(lines: list[bytes], eol: bytes, data: st.DataObject) -> None:
    raw = eol.join(lines) + eol + eol
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    chunks = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    decoder, events, broken = Decoder(), [], False
    try:
        for chunk in chunks:
            events += decoder.feed(chunk)
            decoder.check()
        events += decoder.end()
    except UpstreamFailed:
        broken = True
    assert ([(event.type, event.data) for event in events], broken) == reference(raw)


def test_a_frame_cut_within_its_last_line_end_is_passed_on_whole() -> None:
    stream = b'event: a\r\ndata: {"type":"a"}\r\n\r\nevent: b\r\ndata: {"type":"b"}\r\n\r\n'
    for edge in range(len(stream)):
        decoder = Decoder()
        events = decoder.feed(stream[:edge]) + decoder.feed(stream[edge:]) + decoder.end()
        assert b"".join(event.raw for event in events) == stream
