"""However a stream is written down, it holds the same events; and recordings pass byte for byte."""

import gzip
import json
from base64 import b64encode
from typing import Any

import pytest
import sseclient

from codexproxy.simulator import recipes
from tests.data import RECORDINGS
from tests.simulator.talk import Talker, read_to_end, read_until

Json = dict[str, Any]

SCRIPT = recipes.say("Hello ", "wörld", response_id="resp_1") | {"usage": None}

RULES = [
    "crlf",
    "lone_cr",
    "bom",
    "no_space_after_data",
    "multi_line_data",
    "comments",
    "no_event_lines",
    "extra_fields",
]


def parsed(body: bytes) -> list[Json]:
    client = sseclient.SSEClient(iter([body.removeprefix(b"\xef\xbb\xbf")]))  # type: ignore[arg-type]
    return [json.loads(event.data) for event in client.events() if event.data]


def without_ids(events: list[Json]) -> list[Json]:
    """Events without what is random or tells the time."""
    kept = []
    for event in events:
        event = {k: v for k, v in event.items() if k not in ("item_id", "item", "obfuscation")}
        if "response" in event:
            event["response"] = event["response"]["id"]
        kept.append(event)
    return kept


@pytest.mark.parametrize("rule", RULES)
def test_an_unusual_hand_writes_the_same_events(talker: Talker, rule: str) -> None:
    talker.sim.script(SCRIPT, SCRIPT)
    plain = talker.turn()
    talker.sim.rules(**{rule: True})
    unusual = talker.turn()

    assert plain.body != unusual.body
    assert without_ids(parsed(unusual.body)) == without_ids(parsed(plain.body))


def test_all_unusual_hands_together_still_write_the_same_events(talker: Talker) -> None:
    talker.sim.script(SCRIPT, SCRIPT)
    plain = talker.turn()
    talker.sim.rules(**{rule: True for rule in RULES if rule != "lone_cr"})

    assert without_ids(parsed(talker.turn().body)) == without_ids(parsed(plain.body))


@pytest.mark.parametrize(
    ("rule", "telling"),
    [
        ("crlf", b"\r\n\r\nevent: "),
        ("lone_cr", b"\r\revent: "),
        ("bom", b"\xef\xbb\xbfevent: "),
        ("no_space_after_data", b"\ndata:{"),
        ("multi_line_data", b"\ndata: {\ndata: "),
        ("comments", b": a comment\n"),
        ("extra_fields", b"id: 7\nretry: 3000\n"),
        ("done_marker", b"data: [DONE]\n\n"),
    ],
)
def test_each_hand_is_what_it_says(talker: Talker, rule: str, telling: bytes) -> None:
    assert telling not in talker.turn().body
    talker.sim.rules(**{rule: True})
    assert telling in talker.turn().body


def test_a_stream_can_lack_its_event_lines(talker: Talker) -> None:
    talker.sim.rules(no_event_lines=True)

    assert b"event:" not in talker.turn().body


def test_a_stream_can_lack_its_last_blank_line(talker: Talker) -> None:
    talker.sim.rules(no_final_blank_line=True)

    body = talker.turn().body
    assert body.endswith(b"}\n")
    assert not body.endswith(b"\n\n")


def test_a_stream_can_be_compressed(talker: Talker) -> None:
    talker.sim.rules(gzip=True)
    answer = talker.turn()

    assert answer.headers["content-encoding"] == "gzip"
    assert b"response.completed" in gzip.decompress(answer.body)


def test_a_stream_can_be_delimited_by_its_end(talker: Talker) -> None:
    talker.sim.rules(close_delimited=True)
    with talker.open() as sock:
        wire = read_to_end(sock)

    assert b"transfer-encoding" not in wire.lower()
    assert wire.endswith(b"\n\n")


def test_chunks_can_carry_extensions_and_trailers(talker: Talker) -> None:
    talker.sim.rules(chunk_extensions=True, trailers=True)
    with talker.open() as sock:
        wire = read_until(sock, b"x-sim-trailer: yes\r\n\r\n")
    assert b";part=sim\r\n" in wire
    assert talker.turn().types[-1] == "response.completed"


def recordings() -> list[str]:
    return sorted(path.name for path in (RECORDINGS / "responses_sse").glob("*.sse"))


@pytest.mark.parametrize("name", recordings())
@pytest.mark.parametrize("chunking", ["frame", "whole", 7])
def test_a_recording_is_replayed_byte_for_byte(talker: Talker, name: str, chunking: str | int) -> None:
    path = RECORDINGS / "responses_sse" / name
    talker.sim.script(recipes.replay(path, chunking=chunking))

    assert talker.turn().body == path.read_bytes()


def test_raw_bytes_and_raw_text_are_sent_as_they_are(talker: Talker) -> None:
    rubbish = bytes(range(256)) * 3
    talker.sim.script({"raw_base64": b64encode(rubbish).decode()}, {"raw_text": "data: x\n\n: c\r\n\r\nrest"})

    assert talker.turn().body == rubbish
    assert talker.turn().body == b"data: x\n\n: c\r\n\r\nrest"


def test_a_recording_can_be_cut_between_two_of_its_frames(talker: Talker) -> None:
    talker.sim.script(recipes.cut_after({"raw_text": "data: 1\n\ndata: 2\r\n\r\ndata: 3\n\n"}, "clean", event=2))

    assert talker.turn().body == b"data: 1\n\ndata: 2\r\n\r\n"
